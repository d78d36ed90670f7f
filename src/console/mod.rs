//! The operator console: one page at `/`, its style and its modules, all of them in the binary.
//!
//! It is a client like any other: what it shows and does goes through the API, with the key that its user signs in with.
//! The page itself says nothing, so it is open to anyone.
//!
//! What must stay true: nothing comes from another host, no script or style stands in the page, and text from data is
//! only ever set as text; a browser holds the page to the first two by its [policy](POLICY). All files together are less
//! than 150 KiB.
//!
//! | file of `page/` | holds |
//! | --- | --- |
//! | `app.js` | signing in, which page is shown, what every page may do |
//! | `api.js` | calls and the event stream |
//! | `dom.js`, `parts.js`, `ask.js`, `charts.js`, `format.js` | elements, and what is made of them |
//! | all others | a page each |

pub mod routes;

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::http::shell;

/// What a browser may do with the page: load its own files, ask its own host, and nothing else.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// The page.
const INDEX: &str = include_str!("page/index.html");

/// Its files, by the names under which they are served: `/console/{name}`.
const FILES: &[(&str, &str, &str)] = &[
    ("style.css", STYLE, include_str!("page/style.css")),
    ("icon.svg", IMAGE, include_str!("page/icon.svg")),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("ask.js", SCRIPT, include_str!("page/ask.js")),
    ("charts.js", SCRIPT, include_str!("page/charts.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("format.js", SCRIPT, include_str!("page/format.js")),
    ("parts.js", SCRIPT, include_str!("page/parts.js")),
    ("overview.js", SCRIPT, include_str!("page/overview.js")),
    ("locks.js", SCRIPT, include_str!("page/locks.js")),
    ("stock.js", SCRIPT, include_str!("page/stock.js")),
    ("orders.js", SCRIPT, include_str!("page/orders.js")),
    ("conflicts.js", SCRIPT, include_str!("page/conflicts.js")),
    ("counts.js", SCRIPT, include_str!("page/counts.js")),
    ("imports.js", SCRIPT, include_str!("page/imports.js")),
    ("posting.js", SCRIPT, include_str!("page/posting.js")),
    ("variances.js", SCRIPT, include_str!("page/variances.js")),
    ("invoices.js", SCRIPT, include_str!("page/invoices.js")),
    ("audit.js", SCRIPT, include_str!("page/audit.js")),
    ("events.js", SCRIPT, include_str!("page/events.js")),
    ("webhooks.js", SCRIPT, include_str!("page/webhooks.js")),
];

/// A file as it is served.
#[derive(Debug)]
struct Served {
    media_type: &'static str,
    text: &'static str,
    etag: HeaderValue,
}

/// All files by name; the page itself has none.
static SERVED: LazyLock<HashMap<&'static str, Served>> = LazyLock::new(|| {
    let files = FILES.iter().copied().chain([("", HTML, INDEX)]);
    files
        .filter_map(|(name, media_type, text)| {
            let etag =
                HeaderValue::try_from(format!("\"{}\"", hex::encode(&Sha256::digest(text)[..12]))).ok()?;
            Some((name, Served { media_type, text, etag }))
        })
        .collect()
});

/// `GET /`
pub async fn page(headers: HeaderMap) -> Response {
    serve("", &headers).await
}

/// `GET /console/{file}`
pub async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers).await
}

/// The names of all files, as they are served.
pub fn paths() -> impl Iterator<Item = String> {
    ["/".to_owned()].into_iter().chain(FILES.iter().map(|(name, ..)| format!("/console/{name}")))
}

/// A browser keeps each file and asks each time whether it is still the same: a new version is seen at once.
async fn serve(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = SERVED.get(name) else { return shell::not_found().await };
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|known| {
        let known = known.to_str().unwrap_or_default();
        known.split(',').any(|one| one.trim().trim_start_matches("W/") == file.etag || one.trim() == "*")
    });
    let fixed = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, file.media_type)], file.text).into_response()
    };
    let headers = response.headers_mut();
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.insert(ETAG, file.etag.clone());
    response
}
