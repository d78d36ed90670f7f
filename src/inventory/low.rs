//! Tells of variants that have become low.

use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Level, StockStatus};
use crate::db::DbError;
use crate::events::{self, About, EventKind, NewEvent};

#[derive(Serialize)]
struct Low {
    variant_id: Uuid,
    on_hand: i64,
    held: i64,
    available: i64,
    stock_status: StockStatus,
    version: i64,
}

/// Appends `stock.low` for those of `levels`, as they are now, that are still low: each with the request that made it so, in
/// its trace. No statement if none is.
///
/// # Errors
/// [`DbError`].
pub(crate) async fn tell_of_low_in_tx<'a>(
    conn: &mut PgConnection,
    levels: impl Iterator<Item = (&'a Level, Option<&'a str>)>,
) -> Result<(), DbError> {
    let event = |(level, traceparent): (&Level, Option<&str>)| {
        let &Level { variant_id, on_hand, held, version } = level;
        let available = level.available();
        let stock_status = StockStatus::of(available);
        let low = Low { variant_id, on_hand, held, available, stock_status, version };
        (stock_status != StockStatus::InStock).then(|| {
            Ok(NewEvent::new(EventKind::StockLow, About::Variant(variant_id), &low)?.made_by(traceparent))
        })
    };
    let events: Vec<_> = levels.filter_map(event).collect::<Result<_, DbError>>()?;
    events::append_all_in_tx(conn, &events).await
}
