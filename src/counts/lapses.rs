//! Tells that claims of racks and sessions have lapsed, or that they live again. Nothing depends on when: whether they stand
//! is found out by whoever looks, by the database's clock. But who only follows events would see the dead for ever.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;

use super::error::CountError;
use super::racks;
use super::sessions::store as sessions;
use crate::app::App;
use crate::db::DbError;
use crate::events::{self, About, EventKind, NewEvent};
use crate::ids;

/// Pause between two rounds, give or take a quarter.
const PAUSE: Duration = Duration::from_secs(5);
/// How many are told of at once.
const PAGE: i64 = 200;

/// Goes on until the service stops.
pub async fn keep(app: Arc<App>) {
    while !app.stopping.is_cancelled() {
        if let Err(error) = tell(&app).await {
            tracing::warn!(%error, "what lapsed can't be told now; it has lapsed all the same");
        }
        let pause = PAUSE.mul_f64(0.75 + f64::from(ids::random_byte()) / 510.0);
        tokio::select! {
            () = app.stopping.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tells of all that has lapsed or lives again and was not told of, page by page. What somebody is changing is left for
/// another time. Answers how many there were.
///
/// # Errors
/// [`CountError`] if they can't be found.
pub async fn tell(app: &App) -> Result<usize, CountError> {
    let mut all = 0;
    while !app.stopping.is_cancelled() {
        let page = async {
            let mut tx = app.db.begin().await?;
            let racks = racks::lapse::tell_in_tx(&mut tx, PAGE).await?;
            let sessions = tell_of_sessions_in_tx(&mut tx).await?;
            tx.commit().await.map_err(DbError::from)?;
            Ok::<_, CountError>((racks, sessions))
        };
        let (racks, sessions) = app.db.in_time(page).await??;
        all += racks + sessions;
        if racks.max(sessions) < PAGE as usize {
            break;
        }
    }
    Ok(all)
}

async fn tell_of_sessions_in_tx(conn: &mut PgConnection) -> Result<usize, CountError> {
    let turned = sessions::tell_of_lapses_in_tx(conn, PAGE).await?;
    let told = turned.iter().map(|session| {
        let (kind, state) = match session.has_lapsed {
            true => (EventKind::SessionEnded, "lapsed"),
            false => (EventKind::SessionUpdated, "open"),
        };
        let told = json!({"session_id": session.session_id, "user_id": session.user_id, "state": state});
        NewEvent::new(kind, About::SessionNamed(&session.session_id), &told)
    });
    events::append_all_in_tx(conn, &told.collect::<Result<Vec<_>, _>>()?).await?;
    Ok(turned.len())
}
