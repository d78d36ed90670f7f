//! Says how strict an account is from now on, and tells it. What is in stays as it was judged.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::IntakeError;
use super::rules::{OnDuplicate, Policy, Rules, THRESHOLD, TOLERANCE_MAX, WINDOW_DAYS_MAX};
use super::store;
use crate::app::App;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::money::Amount;
use crate::text::AccountId;

/// A policy as callers see it; what is left out is as usual.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
pub struct PolicyGiven {
    rules: Option<Rules>,
    on_duplicate: Option<OnDuplicate>,
    #[schemars(range(min = 1, max = 100))]
    threshold: Option<i64>,
    #[schemars(range(min = 0, max = WINDOW_DAYS_MAX))]
    date_window_days: Option<i64>,
    total_tolerance: Option<Amount>,
}

/// A policy in force.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PolicyTold {
    account_id: AccountId,
    rules: Rules,
    on_duplicate: OnDuplicate,
    threshold: i32,
    date_window_days: u16,
    total_tolerance: Decimal,
}

impl PolicyTold {
    fn of(account_id: AccountId, policy: &Policy) -> Self {
        Self {
            account_id,
            rules: policy.rules,
            on_duplicate: policy.on_duplicate,
            threshold: policy.threshold,
            date_window_days: policy.limits.days,
            total_tolerance: policy.limits.tolerance,
        }
    }
}

/// `GET /invoices/policies/{account_id}`
///
/// # Errors
/// [`IntakeError`].
pub async fn get_policy(
    State(app): State<Arc<App>>,
    InPath(account_id): InPath<AccountId>,
) -> Result<Json<PolicyTold>, IntakeError> {
    let found = store::find_policy(&mut *app.db.read().await?, account_id.as_str()).await?;
    Ok(Json(PolicyTold::of(account_id, &found.unwrap_or_default())))
}

/// `PUT /invoices/policies/{account_id}`
///
/// # Errors
/// [`Problem`].
pub async fn set_policy(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(account_id): InPath<AccountId>,
    body: Body<PolicyGiven>,
) -> Result<Json<PolicyTold>, Problem> {
    let policy = policy_of(&body.value)?;
    let mut tx = app.db.begin().await?;
    let (subject, request_id) = (&caller.principal.subject, &caller.request_id);
    store::set_policy_in_tx(&mut tx, account_id.as_str(), &policy, subject, request_id).await?;
    tx.commit().await.map_err(crate::db::DbError::from)?;
    Ok(Json(PolicyTold::of(account_id, &policy)))
}

fn policy_of(given: &PolicyGiven) -> Result<Policy, Problem> {
    let mut policy = Policy::default();
    let bounded = |field: &str, given: Option<i64>, usual: u16, from: u16, to: u16| {
        let Some(given) = given else { return Ok(usual) };
        let fits = u16::try_from(given).ok().filter(|given| (from..=to).contains(given));
        fits.ok_or_else(|| Problem::invalid(field, format!("must be a whole number from {from} to {to}")))
    };
    policy.rules = given.rules.unwrap_or(policy.rules);
    policy.on_duplicate = given.on_duplicate.unwrap_or(policy.on_duplicate);
    policy.threshold = bounded("threshold", given.threshold, THRESHOLD, 1, 100)?.into();
    policy.limits.days =
        bounded("date_window_days", given.date_window_days, policy.limits.days, 0, WINDOW_DAYS_MAX)?;
    policy.limits.tolerance = given.total_tolerance.map_or(policy.limits.tolerance, Amount::get);
    if policy.limits.tolerance > TOLERANCE_MAX {
        return Err(Problem::invalid("total_tolerance", format!("must be at most \"{TOLERANCE_MAX}\"")));
    }
    Ok(policy)
}
