//! Where whoever is told from now on begins.
//!
//! What must stay true: whatever is committed after this has answered lies beyond the position it gave. What was under way
//! before may have drawn a lower one, so it waits until all that was has ended; but not for long. Where something lasts, it
//! begins before that, and some of what was committed earlier is told too.

use std::time::Duration;

use super::store;
use crate::app::App;
use crate::db::DbError;

/// How long it waits for what is under way.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// A position beyond which all lies that is committed from now on; none if that is not known yet.
///
/// # Errors
/// [`DbError`].
pub(crate) async fn where_to_begin(app: &App) -> Result<Option<i64>, DbError> {
    let drawn = store::find_bounds(&mut *app.db.read().await?).await?.drawn;
    let mut at = app.events.watch();
    let settled = async { at.wait_for(|at| *at >= drawn).await.map(drop) };
    Ok(match tokio::time::timeout(SETTLE_MAX, settled).await {
        Ok(Ok(())) => Some(drawn),
        _ => app.events.at(),
    })
}
