//! Cancels an order that is not there yet, whole, by the key it will be placed with: it is then born cancelled and
//! takes no stock. If the order came meanwhile nothing is done, for then it is [`cancel`](super::cancel)led like
//! any other.
//!
//! # Where placing and cancelling meet
//!
//! In READ COMMITTED two transactions that first look for each other and then write can miss each other: the order
//! sees no cancellation, the cancellation sees no order, and both commit. So both begin at one row, the claim of
//! (user, key) in `idempotency_keys`: placing inserts it anyway, as its first statement, and this verb
//! [holds](crate::idempotency::hold_in_tx) it. Whoever comes second waits there until the first has ended, and looks
//! in a *later* statement, whose snapshot has all that the first committed. For placing that is the statement that
//! locks the stock rows, so it makes no round trip more.
//!
//! - Cancellation first: it commits its row. The order then finds it, and is born cancelled.
//! - Order first: it commits. The cancellation then finds it.
//! - Whoever rolls back was never there, and leaves the claim as it was.

use sqlx::PgConnection;

use super::error::OrderError;
use super::store;
use crate::idempotency;
use crate::inventory::model::Witness;
use crate::text::{Reason, UserId};

/// Keeps the cancellation for the order that will be placed by `user_id` with `key`. Twice is the same as once.
///
/// # Errors
/// [`OrderError::IsThere`], and then nothing may be committed; or a database error.
pub async fn cancel_early_in_tx(
    conn: &mut PgConnection,
    user_id: &UserId,
    key: &str,
    reason: Option<&Reason>,
    witness: Witness<'_>,
) -> Result<(), OrderError> {
    let scope = idempotency::user_scope(user_id.as_str());
    idempotency::hold_in_tx(conn, &scope, key).await?;
    if store::find_id_by_key(conn, user_id.as_str(), key).await?.is_some() {
        return Err(OrderError::IsThere);
    }
    let reason = reason.map(Reason::as_str);
    store::insert_early_cancellation_in_tx(conn, user_id.as_str(), key, reason, witness).await?;
    Ok(idempotency::let_go_in_tx(conn, &scope, key).await?)
}
