//! `holdfast import FILE.csv`: adds variants from a file, each with its opening stock.
//! A row that can't be added is named with its line and the rest go on; running it again adds only what is
//! missing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::http::auth::{Caller, Principal, Scope};
use crate::http::preference::Patience;
use crate::http::problem::Problem;
use crate::ids;
use crate::inventory::StockError;
use crate::inventory::create_variant::{self, CreateVariant};
use crate::telemetry::trace::Trace;

/// Rows between two lines of progress.
const PROGRESS_EVERY: usize = 1_000;

/// `holdfast import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A CSV file with a header and the columns sku, name, price, currency, and perhaps on_hand
    file: PathBuf,
}

#[derive(Debug, Default)]
struct Tally {
    added: usize,
    there_already: usize,
    wrong: usize,
}

/// Runs the command.
///
/// # Errors
/// If the file or the database can't be read.
pub async fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let app = App::new(&Config::from_env()?)?;
    app.locks.look_once().await;
    let caller = Caller {
        principal: Arc::new(Principal { subject: "import".to_owned(), scopes: vec![Scope::Operator] }),
        request_id: ids::fresh().to_string().into(),
        gone: CancellationToken::new(),
        patience: Patience::default(),
        trace: Trace::default(),
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_path(&args.file)
        .with_context(|| format!("can't read {}", args.file.display()))?;
    let headers = reader.headers().context("the file has no header")?.clone();
    for column in ["sku", "name", "price", "currency"] {
        anyhow::ensure!(headers.iter().any(|header| header == column), "the file has no column {column}");
    }
    let mut tally = Tally::default();
    for (index, record) in reader.records().enumerate() {
        let position = match &record {
            Ok(record) => record.position(),
            Err(error) => error.position(),
        };
        let line = position.map_or(0, csv::Position::line);
        let outcome = match record.map_err(anyhow::Error::from).and_then(|record| read(&headers, &record)) {
            Ok(variant) => add(&app, &caller, &variant).await?,
            Err(error) => Some(error.to_string()),
        };
        tally.count(line, outcome.as_deref());
        if (index + 1) % PROGRESS_EVERY == 0 {
            super::show(&format!("{} rows read", index + 1));
        }
    }
    app.tasks.close();
    app.tasks.wait().await;
    super::show(&format!(
        "{} added, {} there already, {} wrong",
        tally.added, tally.there_already, tally.wrong
    ));
    Ok(if tally.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const THERE_ALREADY: &str = "there already";

impl Tally {
    fn count(&mut self, line: u64, outcome: Option<&str>) {
        match outcome {
            None => self.added += 1,
            Some(THERE_ALREADY) => self.there_already += 1,
            Some(why) => {
                self.wrong += 1;
                super::show(&format!("line {line}: {why}"));
            }
        }
    }
}

/// One row, held to the same rules as a request: the fields go through the same types.
fn read(headers: &csv::StringRecord, record: &csv::StringRecord) -> anyhow::Result<CreateVariant> {
    let fields: HashMap<&str, &str> = headers.iter().zip(record.iter()).collect();
    let text = |name: &str| fields.get(name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let wrong = |name: &'static str| move |error: String| anyhow::anyhow!("{name} {error}");
    let on_hand = match text("on_hand").as_str() {
        "" => 0,
        units => units.parse().map_err(|_| anyhow::anyhow!("on_hand must be a whole number"))?,
    };
    Ok(CreateVariant {
        sku: text("sku").try_into().map_err(|error| wrong("sku")(format!("{error}")))?,
        name: text("name").try_into().map_err(|error| wrong("name")(format!("{error}")))?,
        price: text("price").try_into().map_err(|error: &str| wrong("price")(error.to_owned()))?,
        currency: text("currency").try_into().map_err(|error: &str| wrong("currency")(error.to_owned()))?,
        on_hand: i64::try_into(on_hand).map_err(|error: &str| wrong("on_hand")(error.to_owned()))?,
    })
}

/// Adds one variant. Says why not, if it could not be; fails only when going on makes no sense.
async fn add(app: &App, caller: &Caller, variant: &CreateVariant) -> anyhow::Result<Option<String>> {
    match create_variant::create(app, caller, variant, None).await {
        Ok(answer) if answer.status().is_success() => Ok(None),
        Ok(_) | Err(StockError::SkuTaken) => Ok(Some(THERE_ALREADY.to_owned())),
        Err(StockError::Db(error)) => Err(error.into()),
        Err(error) => Ok(Some(Problem::from(&error).detail)),
    }
}
