//! `/docs`: the description of the API as a page, made in the browser from `/openapi.json`.
//!
//! What must stay true: nothing comes from another host, and no script or style stands in the page; a browser holds it to
//! that by its [policy](POLICY). So it works where there is no other host.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;

/// What a browser may do with the page: load its own files, ask its own host, and nothing else.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Routes under no prefix, open to anyone.
pub fn routes() -> Router<Arc<App>> {
    let index = async || serve("text/html; charset=utf-8", include_str!("page/index.html"));
    let script = async || serve("text/javascript; charset=utf-8", include_str!("page/app.js"));
    let style = async || serve("text/css; charset=utf-8", include_str!("page/style.css"));
    Router::new()
        .route("/docs", get(index))
        .route("/docs/app.js", get(script))
        .route("/docs/style.css", get(style))
}

fn serve(media_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, media_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
