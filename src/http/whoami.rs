//! `GET /whoami`: whom a key speaks for, and what it allows. Refuses only those without a live key.

use axum::Json;
use schemars::JsonSchema;
use serde::Serialize;

use super::api::{Group, get};
use super::auth::{Caller, Scope};

/// The holder of a key.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Holder {
    /// The user the key speaks for.
    pub subject: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

/// The call of keys.
#[must_use]
pub fn routes() -> Group {
    Group::new("Keys", "Whom a key speaks for.", &[Scope::Storefront, Scope::Warehouse, Scope::Finance]).with(
        get("/whoami", "keys.whoami", whoami)
            .says("Ask whom a key speaks for", "And what it allows.")
            .looks_on()
            .answers::<Holder>(200, "The key's holder."),
    )
}

/// Tells.
pub async fn whoami(caller: Caller) -> Json<Holder> {
    let principal = &caller.principal;
    Json(Holder { subject: principal.subject.clone(), scopes: principal.scopes.clone() })
}
