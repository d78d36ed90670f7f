//! Holds stock for a user: all lines or none, at the catalogue's prices of now; in place of another hold of theirs, if
//! they say so, which is not counted against them and is let go in the same transaction.
//! Refuses if a line is short, a variant unknown, a currency another, the user has too many holds, or what would be
//! replaced is over.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::DateTime;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::HoldError;
use super::model::{Hold, HoldLine, HoldState, HoldTtl, LIVE_HOLDS_MAX};
use super::rules::{made_low, still_held, without};
use super::{release, store};
use crate::app::App;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::ids;
use crate::inventory::low::tell_of_low_in_tx;
use crate::inventory::model::Witness;
use crate::locks::LockKeys;
use crate::money::Currency;
use crate::orders::model::{LINES_MAX, LineWanted};
use crate::orders::rules;
use crate::orders::store::{Locked, lock_items_in_tx};
use crate::section::{Section, Verb};
use crate::text::UserId;

/// `POST /holds`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct HoldStock {
    user_id: UserId,
    currency: Option<Currency>,
    #[schemars(length(min = 1, max = LINES_MAX))]
    lines: Vec<LineWanted>,
    #[serde(default)]
    ttl_seconds: HoldTtl,
    /// The user's hold that this one takes the place of: kept as it is, if this one is refused.
    replaces: Option<Uuid>,
}

/// # Errors
/// [`Problem`].
pub async fn hold(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<HoldStock>,
) -> Result<Answer, Problem> {
    let (cmd, keyed) = body.with_key()?;
    if !(1..=LINES_MAX).contains(&cmd.lines.len()) {
        return Err(Problem::invalid("lines", format!("must be 1 to {LINES_MAX} lines")));
    }
    let claim = Claim::of_subject(&caller.principal.subject, keyed);
    Ok(hold_stock(&app, &caller, &cmd, &claim).await?)
}

/// Holds under the lease of all the variants.
///
/// # Errors
/// [`HoldError`], but for refusals by the business, which are answers the key keeps.
pub async fn hold_stock(
    app: &App,
    caller: &Caller,
    cmd: &HoldStock,
    claim: &Claim,
) -> Result<Answer, HoldError> {
    let mut variants: Vec<_> = cmd.lines.iter().map(|line| line.variant_id).collect();
    if let Some(hold_id) = cmd.replaces {
        let replaced = store::find_whose(app, hold_id).await?;
        if replaced.user_id != cmd.user_id.as_str() {
            return Err(HoldError::NotFound);
        }
        variants.extend(replaced.variants);
    }
    let keys = LockKeys::variants(variants)?;
    let section = Section { app, caller, claim: Some(claim), success: StatusCode::CREATED };
    section.run(&keys, &Holding { cmd, keys: &keys }).await
}

struct Holding<'a> {
    cmd: &'a HoldStock,
    keys: &'a LockKeys,
}

impl Verb for Holding<'_> {
    type Done = Hold;
    type Error = HoldError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Hold, HoldError> {
        hold_in_tx(conn, self.cmd, self.keys, witness).await
    }
}

/// Counts the user's holds, locks the one that is replaced and the stock rows, decides on all lines, and writes the hold.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn hold_in_tx(
    conn: &mut PgConnection,
    cmd: &HoldStock,
    keys: &LockKeys,
    witness: Witness<'_>,
) -> Result<Hold, HoldError> {
    store::lock_number_of_holds_in_tx(conn, cmd.user_id.as_str()).await?;
    if let Some(hold_id) = cmd.replaces {
        store::lock_row_in_tx(conn, hold_id).await?;
    }
    let Locked { levels, catalogue, .. } = lock_items_in_tx(conn, &keys.variant_ids(), None).await?;
    let replaced = match cmd.replaces {
        Some(hold_id) => Some(store::find_hold(conn, hold_id).await?.ok_or(HoldError::NotFound)?),
        None => None,
    };
    replaced.as_ref().map_or(Ok(()), |hold| still_held(hold.state))?;
    let live = store::count_live_holds_in_tx(conn, cmd.user_id.as_str()).await?;
    if live - i64::from(replaced.is_some()) >= LIVE_HOLDS_MAX {
        return Err(HoldError::TooMany);
    }
    let let_go = replaced.as_ref().map(|hold| hold.lines.as_slice()).unwrap_or_default();
    let free = without(&levels, let_go);
    let offers = rules::offers(&cmd.lines, |id| free.get(&id), &catalogue);
    let currency = rules::common_currency(&cmd.lines, &offers, cmd.currency)?;
    let (line_totals, total) = rules::totals(&cmd.lines, &offers, currency, None)?;
    rules::all_available(&cmd.lines, &offers)?;

    let line = |(wanted, line_total): (&LineWanted, _)| {
        let offered = catalogue.get(&wanted.variant_id)?;
        Some(HoldLine {
            line_id: ids::fresh(),
            variant_id: wanted.variant_id,
            sku: offered.sku.clone(),
            quantity: wanted.quantity.get(),
            unit_price: currency.written(offered.price),
            line_total: currency.written(line_total),
        })
    };
    let mut hold = Hold {
        hold_id: ids::fresh(),
        user_id: cmd.user_id.as_str().to_owned(),
        state: HoldState::Held,
        expires_at: DateTime::UNIX_EPOCH,
        currency,
        total: currency.written(total),
        lines: cmd.lines.iter().zip(line_totals).filter_map(line).collect(),
        order_id: None,
        held_at: DateTime::UNIX_EPOCH,
        lock: witness.lock.into(),
    };
    let low = made_low(&levels, let_go, &hold.lines);
    if let Some(replaced) = replaced {
        release::write_in_tx(conn, replaced, witness).await?;
    }
    (hold.held_at, hold.expires_at) = store::insert_hold_in_tx(conn, &hold, cmd.ttl_seconds, witness).await?;
    events::append_in_tx(conn, EventKind::HoldCreated, About::Hold(hold.hold_id), &hold).await?;
    tell_of_low_in_tx(conn, low.iter().map(|level| (level, witness.traceparent))).await?;
    Ok(hold)
}
