//! `GET /whoami`: whom a key speaks for, and what it allows. Refuses only those without a live key.

use axum::Json;
use serde::Serialize;

use super::auth::{Caller, Scope};

/// The holder of a key.
#[derive(Debug, Serialize)]
pub struct Holder {
    /// The user the key speaks for.
    pub subject: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

/// Tells.
pub async fn whoami(caller: Caller) -> Json<Holder> {
    let principal = &caller.principal;
    Json(Holder { subject: principal.subject.clone(), scopes: principal.scopes.clone() })
}
