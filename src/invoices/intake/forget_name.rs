//! Forgets that a vendor's name stands for another, and keeps who said so and why: from now on it stands for itself, for
//! what is in as for what comes in. What is in stays as it was judged.
//! Refuses a name that stands for no other.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::error::IntakeError;
use super::model::{VendorName, locks_of_names};
use super::store;
use crate::app::App;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::model::{LockSeen, Witness};
use crate::section::{Section, Verb};
use crate::text::{AccountId, Reason};

/// `POST /invoices/vendors/forget`
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "VendorNameForget")]
pub struct ForgetName {
    account_id: AccountId,
    vendor_name: VendorName,
    reason: Reason,
}

/// A name that stands for itself again.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "VendorNameForgotten")]
pub struct Forgotten {
    account_id: String,
    vendor_name: String,
    /// What it stood for, as names are compared.
    stood_for: String,
    learned_from: String,
    learned_at: DateTime<Utc>,
    reason: String,
    forgotten_by: String,
    forgotten_at: DateTime<Utc>,
    lock: LockSeen,
}

/// # Errors
/// [`Problem`].
pub async fn forget_name(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<ForgetName>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(forget_one(&app, &caller, &body.value, claim.as_ref()).await?)
}

/// Forgets under the lock that names are learned under.
///
/// # Errors
/// [`IntakeError`], but for refusals by the business, which are answers.
async fn forget_one(
    app: &App,
    caller: &Caller,
    cmd: &ForgetName,
    claim: Option<&Claim>,
) -> Result<Answer, IntakeError> {
    let keys = locks_of_names(cmd.account_id.as_str())?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    section.run(&keys, &Forgetting { cmd }).await
}

struct Forgetting<'a> {
    cmd: &'a ForgetName,
}

impl Verb for Forgetting<'_> {
    type Done = Forgotten;
    type Error = IntakeError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Forgotten, IntakeError> {
        forget_in_tx(conn, self.cmd, witness).await
    }
}

/// Takes the name away, and writes down that it was.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn forget_in_tx(
    conn: &mut PgConnection,
    cmd: &ForgetName,
    witness: Witness<'_>,
) -> Result<Forgotten, IntakeError> {
    let (account, name, reason) = (cmd.account_id.as_str(), &cmd.vendor_name, cmd.reason.as_str());
    let found = store::forget_alias_in_tx(conn, account, name.key(), reason, witness).await?;
    let found = found.ok_or(IntakeError::NameNotLearned)?;
    let forgotten = Forgotten {
        account_id: account.to_owned(),
        vendor_name: name.as_str().to_owned(),
        stood_for: found.vendor_key,
        learned_from: found.learned_from,
        learned_at: found.learned_at,
        reason: reason.to_owned(),
        forgotten_by: witness.subject.to_owned(),
        forgotten_at: found.forgotten_at,
        lock: witness.lock.into(),
    };
    events::append_in_tx(conn, EventKind::InvoiceVendorForgotten, About::Nothing, &forgotten).await?;
    Ok(forgotten)
}
