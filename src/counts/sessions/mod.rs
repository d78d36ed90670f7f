//! Sessions: one device's work, from its first claim or batch until its records are posted.
//!
//! Verbs: [`open`], [`heartbeat`], [`post`], [`discard`]; reads: [`read`], [`list`], [`presence`], [`variances`], [`export`]. The
//! rules of posting are in [`rules`].
//!
//! What must stay true:
//! - A session belongs to the user that opened it. Its time is over an hour after it was last heard of; nothing has to
//!   happen for that, and nothing is lost by it: it goes on when its device comes back.
//! - From the moment at which its posting begins, or it is discarded, nothing enters it any more. Each of its items is
//!   posted once, whoever goes on with a posting that broke off.
//! - A count sets the whole of an item's stock. Sessions that are posted together are one count; an item that others
//!   counted elsewhere, or since, is not posted unless somebody approves of it.

pub mod discard;
pub mod export;
pub mod heartbeat;
pub mod list;
pub mod model;
pub mod open;
pub mod post;
pub mod presence;
pub mod read;
pub mod rules;
pub(super) mod store;
pub mod variances;

use std::time::Duration;

use serde_json::json;

use super::error::CountError;
use crate::app::App;
use crate::db::{DbError, run_again_if_it_collides};
use crate::events::{About, EventKind, NewEvent};
use crate::ids;
use crate::text::SessionId;

/// Within what time after a heartbeat a user counts as active.
pub const PRESENT_FOR: Duration = Duration::from_secs(90);
/// After what time in which nothing was heard of it a session's time is over.
pub const LASTS_FOR: Duration = Duration::from_secs(60 * 60);
/// How long a serial number stays with its record after that was posted: a count is over by then.
pub const SERIALS_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Says from when on the serial numbers of these sessions, which nothing enters any more, may be counted anew: some of them at
/// a time, so that a hundred thousand of them are no statement that takes too long. Whoever does it again goes on.
///
/// # Errors
/// [`CountError`].
async fn free_serials(app: &App, sessions: &[String]) -> Result<(), CountError> {
    for session_id in sessions {
        let mut from = Some(String::new());
        while let Some(next) = from {
            from = run_again_if_it_collides(async || {
                let mut conn = app.db.read().await?;
                Ok::<_, CountError>(store::free_serials(&mut conn, session_id, &next).await?)
            })
            .await?;
        }
    }
    Ok(())
}

/// The id of a session that Holdfast opens.
#[must_use]
pub(super) fn fresh_id() -> SessionId {
    // Hexadecimal digits and hyphens fit.
    SessionId::try_from(ids::fresh().to_string()).unwrap_or_else(|_| unreachable!("a UUID is visible ASCII"))
}

/// What is told of a session that was opened.
///
/// # Errors
/// [`DbError`] if that can't be written.
pub(super) fn start_of(session_id: &str, user_id: &str) -> Result<NewEvent, DbError> {
    let told = json!({"session_id": session_id, "user_id": user_id});
    NewEvent::new(EventKind::SessionStarted, About::SessionNamed(session_id), &told)
}
