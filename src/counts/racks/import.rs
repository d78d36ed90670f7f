//! Imports racks from a CSV file, in one transaction. A row whose rack is registered is there already, if it stands on the
//! floor that the row says; a rack's name stays as it is. A row that is in error keeps out the others only if that is asked
//! for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;

use super::model::Rack;
use super::store;
use crate::app::App;
use crate::counts::error::CountError;
use crate::counts::imports::{Imported, Part, RowOutcome, RowTold};
use crate::counts::keyed::{self, Begun};
use crate::db::DbError;
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::csv::{self, CsvBody, Row};
use crate::http::extract::Params;
use crate::http::problem::Problem;
use crate::text::{Floor, Name, RackId};

/// The most racks of an import.
pub const RACKS_MAX: usize = 10_000;
/// The columns, of which the first two must be there.
const COLUMNS: [&str; 3] = ["rack_id", "floor", "name"];

/// `POST /racks/import?all_or_nothing=&first_line=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRacks {
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
    Params(query): Params<ImportRacks>,
    body: CsvBody,
) -> Result<Answer, Problem> {
    let of = format!("import {} {}", query.all_or_nothing, query.first_line.line());
    let claim = keyed::claim_of(&caller, &of, body.keyed);
    let rows = csv::read(&body.bytes, &COLUMNS, 2, RACKS_MAX)?;
    let rows = rows.into_iter().map(|row| (query.first_line.line_of(row.line), read(row)));
    let rows: Vec<_> = rows.collect();
    let mut work = match keyed::begin(&app, &caller, claim.as_ref()).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let told = match import_in_tx(&mut work.tx, &rows).await {
        Ok(told) => told,
        Err(error) => return Err(error.into()),
    };
    if query.all_or_nothing && told.iter().any(|row| row.outcome == RowOutcome::Error) {
        let told = Imported::of(false, told.into_iter().map(left_out).collect());
        return Ok(work.finish_unwritten(StatusCode::OK, told).await?);
    }
    Ok(work.finish(StatusCode::OK, Ok(Imported::of(true, told))).await?)
}

/// A rack that could be registered.
#[derive(Debug, Clone)]
pub(super) struct NewRack {
    pub(super) rack_id: RackId,
    pub(super) floor: Floor,
    pub(super) name: Option<Name>,
}

/// One row, held to the same rules as a request: the cells go through the same types.
fn read(row: Row) -> Result<NewRack, RowTold> {
    let wrong = |name: &str, why: String| RowTold::error("validation_error", format!("{name}: {why}"));
    let mut cells = row.cells.map_err(|why| RowTold::error("validation_error", why))?;
    let mut needed = |name| cells.remove(name).ok_or_else(|| wrong(name, "is required".to_owned()));
    let (rack_id, floor) = (needed("rack_id")?, needed("floor")?);
    let name = cells.remove("name").map(Name::try_from).transpose();
    Ok(NewRack {
        rack_id: RackId::try_from(rack_id).map_err(|why| wrong("rack_id", why.to_string()))?,
        floor: Floor::try_from(floor).map_err(|why| wrong("floor", why.to_string()))?,
        name: name.map_err(|why| wrong("name", why.to_string()))?,
    })
}

/// Registers those that are not, sorted by their ids; of several rows of one rack the first.
async fn import_in_tx(
    conn: &mut PgConnection,
    rows: &[(u64, Result<NewRack, RowTold>)],
) -> Result<Vec<RowTold>, CountError> {
    let mut racks: BTreeMap<&str, &NewRack> = BTreeMap::new();
    for rack in rows.iter().filter_map(|(_, row)| row.as_ref().ok()) {
        racks.entry(rack.rack_id.as_str()).or_insert(rack);
    }
    let racks: Vec<_> = racks.into_values().collect();
    let mut added = store::insert_each_in_tx(conn, &racks).await?;
    let told = racks.iter().filter(|rack| added.contains(rack.rack_id.as_str())).map(|rack| {
        let NewRack { rack_id, floor, name } = (*rack).clone();
        NewEvent::new(
            EventKind::RackRegistered,
            About::Rack(rack.rack_id.as_str()),
            &Rack::fresh(rack_id, floor, name),
        )
    });
    events::append_all_in_tx(conn, &told.collect::<Result<Vec<_>, _>>()?).await?;
    let floors = store::find_floors(conn, &racks).await?;
    let mut told = Vec::with_capacity(rows.len());
    for (line, row) in rows {
        let row = match row {
            Ok(rack) => judge(rack, added.remove(rack.rack_id.as_str()), &floors)?,
            Err(wrong) => wrong.clone(),
        };
        told.push(RowTold { line: *line, ..row });
    }
    Ok(told)
}

fn judge(rack: &NewRack, is_new: bool, floors: &HashMap<String, String>) -> Result<RowTold, DbError> {
    let id = rack.rack_id.as_str();
    let floor = floors.get(id).ok_or(DbError::Unexpected(sqlx::Error::RowNotFound))?;
    let told = match (floor == rack.floor.as_str(), is_new) {
        (true, true) => RowTold::of(RowOutcome::Imported),
        (true, false) => RowTold::of(RowOutcome::ThereAlready),
        (false, _) => RowTold::error("rack_elsewhere", format!("The rack stands on floor {floor}.")),
    };
    Ok(RowTold { id: Some(id.to_owned()), ..told })
}

/// What is told of a row where nothing was written.
fn left_out(row: RowTold) -> RowTold {
    match row.outcome {
        RowOutcome::Imported => RowTold { outcome: RowOutcome::LeftOut, ..row },
        _ => row,
    }
}
