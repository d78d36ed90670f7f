//! The calls of webhooks: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::model::{Entry, Receipt};
use super::receive::Ignored;
use super::{list_inbox, receive, replay};
use crate::http::api::document::example_of;
use crate::http::api::{Group, get, post};
use crate::http::page::Page;
use crate::http::problem::Code::{
    CancelExceedsOrdered, IdempotencyInFlight, InboxEntryNotFound, LimitExceeded, NotFound, OrderNotFound,
    WebhookIdReused,
};

/// Webhooks that come in. Deliveries need no key: their [signature](super::signed) lets them in.
#[must_use]
pub fn routes() -> Group {
    let effect = &[OrderNotFound, CancelExceedsOrdered, LimitExceeded, IdempotencyInFlight, WebhookIdReused];
    Group::new("Webhooks in", "Cancellations that others send, each carried out once.", &[])
        .with(
            post("/webhooks/cancellations", "webhooks.receive", receive::receive)
                .says(
                    "Tell that an order was cancelled",
                    "Signed as Standard Webhooks specifies, or as Stripe does. Which order: `order_id`, or `user_id` and \
                     `idempotency_key`; the order need not have come yet. 404 `not_found` where no secret is set.",
                )
                .open()
                .guarded()
                .reads_header("webhook-id", "The event's id.")
                .reads_header("webhook-timestamp", "Seconds since 1970, within 5 minutes of now.")
                .reads_header("webhook-signature", "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`.")
                .reads_header("Stripe-Signature", "The same as Stripe does, where there is no `webhook-signature`.")
                .answers::<Receipt>(200, "What was done.")
                .answers::<Ignored>(200, "")
                .refuses(effect)
                .refuses(&[NotFound])
                .example(json!({
                    "type": "order.cancelled", "data": {"order_id": example_of("order_id"), "reason": "payment failed"},
                })),
        )
        .with(
            get("/webhooks/inbox", "webhooks.list_inbox", list_inbox::list_inbox)
                .says("List what came in", "Newest first, at most 100 a page.")
                .answers::<Page<Entry>>(200, "A page of entries.")
                .example(json!({"state": "cancelled"})),
        )
        .with(
            post("/webhooks/inbox/{entry_id}/replay", "webhooks.replay", replay::replay)
                .says("Carry an entry out again", "On the record. What was done is not done twice: its first answer is told.")
                .guarded()
                .answers::<Receipt>(200, "What was done.")
                .refuses(effect)
                .refuses(&[InboxEntryNotFound])
                .example(json!({"reason": "the order is there now"})),
        )
}
