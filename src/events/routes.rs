//! The call of events: its path, who may make it, and what is told of it.

use serde_json::json;

use super::stream;
use crate::http::api::{Group, get};
use crate::http::auth::Scope::{Finance, Storefront, Warehouse};
use crate::http::problem::Code::CursorGone;

/// Events. What each scope sees is for [`Choice`](super::choice::Choice) to say.
#[must_use]
pub fn routes() -> Group {
    let about = "What happens, in an order that everybody can follow.";
    Group::new("Events", about, &[Storefront, Warehouse, Finance]).with(
        get("/events", "events.stream", stream::stream)
            .says(
                "Follow what happens",
                "Server-sent events, each once and in the order of their commits, from now on or from where the reader \
                 was. A key sees what its scopes are about.",
            )
            .reads_header("Last-Event-ID", "The last event that the reader has: it goes on after it.")
            .answers_as::<String>(200, "Events: `id`, `event`, `data`; a sign of life every 15 s.", "text/event-stream")
            .refuses(&[CursorGone])
            .example(json!({"types": "stock.*,order.placed"})),
    )
}
