//! Carries out an event, once, whether it is delivered, delivered again or replayed.
//! Refuses an id that another event had, an order that is not there, and more than is left to cancel.

use axum::http::StatusCode;
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::error::WebhookError;
use super::model::{Event, Receipt, State, Which};
use super::store::{self, Kept};
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::idempotency::Claim;
use crate::ids;
use crate::inventory::model::Witness;
use crate::locks::{Evidence, LockKey, LockKeys};
use crate::orders::OrderError;
use crate::orders::cancel::cancel_in_tx;
use crate::orders::cancel_early::cancel_early_in_tx;
use crate::orders::states::Actor;
use crate::orders::store as orders;
use crate::section::{Section, Verb};
use crate::text::{Reason, UserId};

/// Answers a delivery. One whose event was carried out gets the first answer at once, however busy the items are.
///
/// # Errors
/// [`WebhookError`], but for refusals by the business, which are answers.
pub async fn deliver(app: &App, caller: &Caller, event: &Event) -> Result<Answer, WebhookError> {
    let started = Instant::now();
    let kept = store::find(&mut *app.db.read().await?, event).await?;
    if let Some(first) = kept.map(|kept| first_answer(kept, event)).transpose()?.flatten() {
        let unlocked = Evidence { mode: app.locks.mode(), wait_ms: 0 };
        return Ok(Answer::json(StatusCode::OK, &first).guarded(unlocked, started.elapsed()));
    }
    carry_out(app, caller, event, Trigger::Delivery).await
}

/// Why an event is carried out.
#[derive(Debug, Clone, Copy)]
pub enum Trigger<'a> {
    /// It was delivered.
    Delivery,
    /// An operator replays it, with a key or without, and says why or not.
    Replay(Option<&'a Claim>, Option<&'a Reason>),
}

/// Carries out what is not carried out yet, under the lease of the order's variants, which never change; or, if
/// there is no order, of its key. If the order came while this one waited for that, it is an order like any other.
///
/// # Errors
/// As for [`deliver`].
pub async fn carry_out(
    app: &App,
    caller: &Caller,
    event: &Event,
    trigger: Trigger<'_>,
) -> Result<Answer, WebhookError> {
    match once(app, caller, event, trigger).await {
        Err(WebhookError::Order(OrderError::IsThere)) => once(app, caller, event, trigger).await,
        outcome => outcome,
    }
}

async fn once(
    app: &App,
    caller: &Caller,
    event: &Event,
    trigger: Trigger<'_>,
) -> Result<Answer, WebhookError> {
    let (target, keys) = find_target(&mut *app.db.read().await?, event).await?;
    let claim = match trigger {
        Trigger::Delivery => None,
        Trigger::Replay(claim, _) => claim,
    };
    let section = Section { app, caller, claim, success: StatusCode::OK };
    section.run(&keys, &Delivering { event, target, trigger }).await
}

/// What an event cancels.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    /// This order.
    There(Uuid),
    /// The order that this user will place with this key.
    ToCome(&'a UserId, &'a str),
}

/// Looks for the order, and says what to lease.
async fn find_target<'a>(
    conn: &mut PgConnection,
    event: &'a Event,
) -> Result<(Target<'a>, LockKeys), WebhookError> {
    let order_id = match &event.which {
        Which::Id(order_id) => *order_id,
        Which::Key(user_id, key) => match orders::find_id_by_key(conn, user_id.as_str(), key).await? {
            Some(order_id) => order_id,
            // Nobody knows the ids of the lines of an order that is still to come.
            None if event.cancel.lines.is_some() => return Err(OrderError::NotFound.into()),
            None => {
                let keys = LockKeys::new(vec![LockKey::order(user_id.as_str(), key)])?;
                return Ok((Target::ToCome(user_id, key), keys));
            }
        },
    };
    let variants = orders::variants_of(conn, order_id).await?;
    if variants.is_empty() {
        return Err(OrderError::NotFound.into());
    }
    Ok((Target::There(order_id), LockKeys::variants(variants)?))
}

/// What the event's first answer was, if it was carried out.
fn first_answer(kept: Kept, event: &Event) -> Result<Option<Receipt>, WebhookError> {
    if kept.fingerprint != event.fingerprint.0 {
        // Either the sender makes its ids badly, or somebody else has the secret.
        tracing::warn!(webhook.id = event.event_id, "a webhook's id came again with another event");
        return Err(WebhookError::IdReused);
    }
    Ok(Some(kept.receipt).filter(|receipt| receipt.result != State::Refused))
}

struct Delivering<'a> {
    event: &'a Event,
    target: Target<'a>,
    trigger: Trigger<'a>,
}

impl Verb for Delivering<'_> {
    type Done = Receipt;
    type Error = WebhookError;

    /// Enters the event, carries it out, settles the entry. A refusal commits the entry as it was entered, as one
    /// that nothing was done about; whatever else goes wrong takes it back.
    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Receipt, WebhookError> {
        let mut entry_id = ids::fresh();
        let mut first = None;
        if !store::enter_in_tx(conn, entry_id, self.event, witness).await? {
            let kept = store::lock_in_tx(conn, self.event).await?;
            entry_id = kept.entry_id;
            first = first_answer(kept, self.event)?;
        }
        if let Trigger::Replay(_, reason) = self.trigger {
            store::insert_replay_in_tx(conn, ids::fresh(), entry_id, reason, witness).await?;
        }
        if let Some(first) = first {
            return Ok(first);
        }
        let receipt = self.effect_in_tx(conn, witness).await?;
        store::settle_in_tx(conn, entry_id, &self.event.which, &receipt).await?;
        Ok(receipt)
    }
}

impl Delivering<'_> {
    async fn effect_in_tx(
        &self,
        conn: &mut PgConnection,
        witness: Witness<'_>,
    ) -> Result<Receipt, WebhookError> {
        let cancel = &self.event.cancel;
        let (result, order_id) = match self.target {
            Target::There(order_id) => {
                let done = cancel_in_tx(conn, order_id, cancel, Actor::Webhook, witness).await?;
                let result = if done.cancelled_some { State::Cancelled } else { State::AlreadyCancelled };
                (result, Some(order_id))
            }
            Target::ToCome(user_id, key) => {
                cancel_early_in_tx(conn, user_id, key, cancel.reason.as_ref(), witness).await?;
                (State::WaitingForOrder, None)
            }
        };
        Ok(Receipt { result, order_id, lock: witness.lock.into(), duplicate: false })
    }
}
