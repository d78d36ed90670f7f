//! The shell: everything about HTTP, nothing about business.
//!
//! A request passes, from the outside in: the accept loop and its limits ([`server`]), an id, a task of
//! its own and the log ([`shell`]), the route ([`api`]), its scopes ([`auth`]), its
//! handler, whose arguments are read by [`extract`]. What it answers is an [`answer::Answer`], plain JSON,
//! or a [`problem::Problem`].

pub mod answer;
pub mod api;
pub mod auth;
pub mod call;
pub mod csv;
pub mod error;
pub mod extract;
pub mod health;
pub mod metrics;
pub mod page;
pub mod preference;
pub mod problem;
pub mod server;
pub mod shell;
pub mod turnstile;
pub mod whoami;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::Route;
use tower::{Layer, Service};

use self::auth::Door;
use crate::app::App;

/// All routes, with everything a request goes through.
pub fn router(app: &Arc<App>) -> Router {
    api::routes::router(app)
        .fallback(shell::not_found)
        .method_not_allowed_fallback(shell::method_not_allowed)
        .layer(from_fn_with_state(app.clone(), shell::run_to_completion))
        .with_state(app.clone())
}

/// The layer that opens a route to whoever its `door` lets in.
pub fn open_to(
    app: &Arc<App>,
    door: Door,
) -> impl Layer<
    Route,
    Service: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync,
> + Clone
+ Send
+ Sync
+ 'static {
    from_fn_with_state((app.clone(), door), auth::allow)
}
