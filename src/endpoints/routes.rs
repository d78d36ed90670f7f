//! The calls of endpoints: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::model::{Delivery, Endpoint};
use super::{read, register, remove, replay, rotate};
use crate::http::api::{Group, delete, get, post};
use crate::http::page::Page;
use crate::http::problem::Code::{EndpointNotFound, TooManyEndpoints};

/// Endpoints.
#[must_use]
pub fn routes() -> Group {
    Group::new("Webhooks out", "Other programs that are told of events by signed `POST`s.", &[])
        .with(
            post("/webhook-endpoints", "endpoints.register", register::register)
                .says(
                    "Register an endpoint",
                    "It is told of what happens from now on: of all, or of the types that are named. There may be 100.",
                )
                .answers::<register::Registered>(201, "It is registered. The secret is shown now, and again only to the same `Idempotency-Key` for 24 hours.")
                .refuses(&[TooManyEndpoints])
                .example(json!({"url": "https://example.com/hooks", "types": ["stock.changed", "order.*"]})),
        )
        .with(
            get("/webhook-endpoints", "endpoints.list", read::list_endpoints)
                .says("List endpoints", "")
                .answers::<read::Endpoints>(200, "All there are."),
        )
        .with(
            get("/webhook-endpoints/{endpoint_id}", "endpoints.get", read::get_endpoint)
                .says("Look at an endpoint", "")
                .answers::<Endpoint>(200, "The endpoint.")
                .refuses(&[EndpointNotFound]),
        )
        .with(
            get("/webhook-endpoints/{endpoint_id}/deliveries", "endpoints.deliveries", read::list_deliveries)
                .says("List what became of its deliveries", "Newest first.")
                .answers::<Page<Delivery>>(200, "A page of them.")
                .refuses(&[EndpointNotFound])
                .example(json!({"state": "dead"})),
        )
        .with(
            post("/webhook-endpoints/{endpoint_id}/replay", "endpoints.replay", replay::replay)
                .says(
                    "Send deliveries again",
                    "One, those of a state, or of a time; all of them if nothing is said. It opens the breaker too. Where there \
                     are very many the answer has a `next_cursor`: the same again with it as `cursor` does the rest.",
                )
                .answers::<replay::Replayed>(200, "How many are sent again.")
                .refuses(&[EndpointNotFound])
                .example(json!({"state": "dead", "from": "2026-01-01T00:00:00Z", "reason": "the receiver is mended"})),
        )
        .with(
            post("/webhook-endpoints/{endpoint_id}/rotate", "endpoints.rotate", rotate::rotate)
                .says("Give it another secret", "For 24 hours deliveries are signed with both.")
                .answers::<rotate::Rotated>(200, "The new secret, shown now, and again only to the same `Idempotency-Key` for 24 hours.")
                .refuses(&[EndpointNotFound])
                .example(json!({})),
        )
        .with(
            delete("/webhook-endpoints/{endpoint_id}", "endpoints.remove", remove::remove)
                .says("Remove an endpoint", "Nothing is sent to it any more. Its deliveries go with it; of very many it takes a while.")
                .answers_nothing(204, "It is gone.")
                .refuses(&[EndpointNotFound]),
        )
}
