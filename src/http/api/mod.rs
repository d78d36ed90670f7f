//! The API as a table: each route with who may call it, what it takes and what it can answer. The router is built from
//! the table, and so is the [document] at `GET /openapi.json`: there is no route that it does not tell of, nor scope.
//!
//! What writes is told in traces by the id it has here.
//!
//! What must stay true: what is told of a request is read off the [types](takes) that the handler takes and the rules
//! that serde reads of them; errors are [`Code`](super::problem::Code)s, and their statuses stand in that table alone.
//! Which of them a call can answer is said by hand: the tests look up every answer they get (`tests/it/support/api.rs`).

pub mod document;
pub mod operation;
mod page;
pub mod routes;
pub mod takes;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;

pub use self::operation::{Operation, delete, get, post, put};
pub use self::takes::{Argument, Takes};
use super::auth::{Door, Scope};
use super::open_to;
use super::shell::tell_operation;
use crate::app::App;

/// The calls of one domain.
#[derive(Debug)]
pub struct Group {
    /// What their paths begin with.
    pub root: &'static str,
    /// What they are about.
    pub name: &'static str,
    /// The same in a sentence or two.
    pub about: &'static str,
    /// Who may make them, but for those that say otherwise. Nobody else but operators.
    pub scopes: &'static [Scope],
    /// The calls.
    pub operations: Vec<Operation>,
}

impl Group {
    /// A group without calls, under `/api/v1`.
    #[must_use]
    pub fn new(name: &'static str, about: &'static str, scopes: &'static [Scope]) -> Self {
        Self { root: "/api/v1", name, about, scopes, operations: Vec::new() }
    }

    /// The same under no prefix.
    #[must_use]
    pub fn at_the_root(self) -> Self {
        Self { root: "", ..self }
    }

    /// One call more.
    #[must_use]
    pub fn with(mut self, operation: Operation) -> Self {
        self.operations.push(operation.open_to_unless_said(self.scopes));
        self
    }

    /// The routes, without the root.
    pub fn router(&self, app: &Arc<App>) -> Router<Arc<App>> {
        self.operations.iter().fold(Router::new(), |router, operation| {
            let route = operation.route();
            let route = match operation.scopes() {
                Some(scopes) => {
                    route.route_layer(open_to(app, Door { scopes, looks_on: operation.looks_on }))
                }
                None => route,
            };
            // What only reads is told by its route.
            let route = match app.tracer.is_on() && operation.method != Method::GET {
                true => route.route_layer(from_fn_with_state(operation.id, tell_operation)),
                false => route,
            };
            router.route(operation.path, route)
        })
    }
}
