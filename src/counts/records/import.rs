//! Imports counts from a CSV file: each row is a record of one batch, judged by the rules of [`sync`](super::sync) and by no
//! others. A row that is in error or in conflict is told by its line, and keeps out the others only if that is asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::model::{Fault, RECORDS_MAX};
use super::store;
use super::sync::{Batch, take_batch};
use super::take::Taken;
use crate::app::App;
use crate::counts::imports::{Imported, Part, RowOutcome, RowTold};
use crate::counts::keyed;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::csv::{self, CsvBody, Row};
use crate::http::extract::Params;
use crate::http::problem::Problem;
use crate::inventory::model::StoredTime;
use crate::text::SessionId;

/// The columns: those of a record, of which the first two must be there.
const COLUMNS: [&str; 14] = [
    "item_code",
    "verified_qty",
    "damage_qty",
    "serial_numbers",
    "rack_id",
    "floor",
    "status",
    "session_id",
    "client_record_id",
    "counted_at",
    "created_at",
    "updated_at",
    "fence",
    "nth",
];
/// The most rows of one rack and item in a file.
const NTH_MAX: u64 = 1_000_000;
/// What stands between two serial numbers in a cell.
const BETWEEN_SERIALS: char = ';';

/// `POST /sync/import?session_id=&counted_at=&all_or_nothing=&first_line=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportCounts {
    /// The session of rows that name none.
    session_id: Option<SessionId>,
    /// When rows were counted that do not say so. What moved since is taken into account when they are posted.
    counted_at: Option<StoredTime>,
    /// Whether nothing is written unless all rows can be kept.
    #[serde(default)]
    all_or_nothing: bool,
    /// The line of the whole file on which the first row of this part of it stands: 2 unless said.
    #[serde(default)]
    first_line: Part,
}

/// # Errors
/// [`Problem`].
pub async fn import(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<ImportCounts>,
    body: CsvBody,
) -> Result<Answer, Problem> {
    let ImportCounts { session_id, counted_at, all_or_nothing, first_line } = query;
    let counted_at = counted_at.map(|at| at.get().to_rfc3339());
    let of = format!("import {session_id:?} {counted_at:?} {all_or_nothing} {}", first_line.line());
    let claim = keyed::claim_of(&caller, &of, body.keyed);
    let rows = csv::read(&body.bytes, &COLUMNS, 2, RECORDS_MAX)?;
    let is_first = first_line == Part::default();
    let now = {
        let mut conn = app.db.read().await?;
        store::now(&mut conn).await?.to_rfc3339()
    };
    let mut places: HashMap<String, u64> = HashMap::new();
    let mut import = Import { rows: Vec::with_capacity(rows.len()), records: Vec::new(), all_or_nothing };
    for Row { line, cells } in rows {
        let line = first_line.line_of(line);
        let record = cells.and_then(|mut cells| {
            let id = match cells.contains_key("client_record_id") {
                true => None,
                false => Some(id_of_place(&cells, &mut places, is_first)?),
            };
            cells.remove("nth");
            let mut record: Map<_, _> = cells.into_iter().map(field).collect();
            let mut fill = |name: &str, value: Option<String>| {
                if let (None, Some(value)) = (record.get(name), value) {
                    record.insert(name.to_owned(), value.into());
                }
            };
            fill("session_id", session_id.clone().map(String::from));
            fill("client_record_id", id);
            fill("counted_at", counted_at.clone());
            fill("created_at", Some(now.clone()));
            fill("updated_at", Some(now.clone()));
            if !record.contains_key("counted_at") {
                return Err(
                    "counted_at: say when it was counted, here or of all rows by ?counted_at=".to_owned()
                );
            }
            import.records.push(Value::Object(record));
            Ok(())
        });
        import.rows.push((line, record));
    }
    take_batch(&app, &caller, claim.as_ref(), &import).await
}

/// What a row without an id is known by: where it was counted, of what, and which of those rows it is, by `nth` or as counted
/// in a file that is whole. So a corrected file replaces what it corrects, wherever its rows have gone, and two files of
/// different racks add up.
fn id_of_place(
    cells: &BTreeMap<String, String>,
    places: &mut HashMap<String, u64>,
    is_first: bool,
) -> Result<String, String> {
    let said = cells.get("nth").map(|nth| nth.parse().ok().filter(|nth| (1..=NTH_MAX).contains(nth)));
    let said = said.map(|nth| nth.ok_or_else(|| format!("nth: must be a whole number from 1 to {NTH_MAX}")));
    let cell = |name: &str| cells.get(name).map(String::as_str).unwrap_or_default();
    let place =
        json!([cell("session_id"), cell("rack_id"), cell("item_code"), cell("serial_numbers")]).to_string();
    let id = hex::encode(&Sha256::digest(&place)[..12]);
    let counted = places.entry(place).or_default();
    *counted += 1;
    let nth = match said.transpose()? {
        Some(nth) => nth,
        None if is_first => *counted,
        None => {
            let rule = "nth: say in a later part of a file which of the rows of its rack and item this is, or give it a \
                        client_record_id";
            return Err(rule.to_owned());
        }
    };
    Ok(format!("row-{id}-{nth}"))
}

/// A cell as a field of a record. What is no number stays text, which the record's own rules refuse by its name.
fn field((column, cell): (String, String)) -> (String, Value) {
    let value = match column.as_str() {
        "verified_qty" | "damage_qty" | "fence" => {
            cell.parse::<i64>().map_or(Value::String(cell), Value::from)
        }
        "serial_numbers" => {
            let numbers = cell.split(BETWEEN_SERIALS).map(str::trim).filter(|number| !number.is_empty());
            numbers.collect()
        }
        _ => Value::String(cell),
    };
    (column, value)
}

/// A file of records: what could be read of each row.
struct Import {
    rows: Vec<(u64, Result<(), String>)>,
    records: Vec<Value>,
    all_or_nothing: bool,
}

impl Batch for Import {
    type Told = Imported;

    const IS_FILE: bool = true;

    fn records(&self) -> &[Value] {
        &self.records
    }

    fn is_wanted(&self, taken: &[Taken]) -> bool {
        let all_are_good = self.records.len() == self.rows.len()
            && taken.iter().all(|taken| matches!(taken, Taken::Kept { .. }));
        all_are_good || !self.all_or_nothing
    }

    fn tell(&self, taken: Vec<Taken>, _: f64) -> Imported {
        let is_imported = self.is_wanted(&taken);
        let mut taken = taken.into_iter();
        let rows = self.rows.iter().filter_map(|(line, row)| {
            let told = match row {
                Ok(()) => told(taken.next()?, is_imported),
                Err(why) => RowTold::error("validation_error", why.clone()),
            };
            Some(RowTold { line: *line, ..told })
        });
        Imported::of(is_imported, rows.collect())
    }
}

fn told(taken: Taken, is_imported: bool) -> RowTold {
    match taken {
        Taken::Kept { id, replaced } => {
            let outcome = match is_imported {
                false => RowOutcome::LeftOut,
                true if replaced => RowOutcome::Replaced,
                true => RowOutcome::Imported,
            };
            RowTold { id: Some(id), ..RowTold::of(outcome) }
        }
        Taken::Conflict(conflict) => RowTold {
            id: Some(conflict.client_record_id),
            error_type: Some(conflict.conflict_type.as_str().to_owned()),
            message: Some(conflict.message),
            ..RowTold::of(RowOutcome::Conflict)
        },
        Taken::Fault(fault) | Taken::Unreadable(fault) => {
            let Fault { client_record_id, error_type, message } = fault;
            RowTold { id: client_record_id, ..RowTold::error(error_type, message) }
        }
    }
}
