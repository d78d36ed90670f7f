//! The calls of orders: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::model::Order;
use super::{cancel, history, look_up_key, place, read};
use crate::http::api::document::example_of;
use crate::http::api::{Group, get, post};
use crate::http::auth::Scope::Storefront;
use crate::http::page::Page;
use crate::http::problem::Code::{
    CancelExceedsOrdered, CurrencyMismatch, IdempotencyKeyInvalid, IdempotencyKeyNotFound, InsufficientStock,
    LimitExceeded, OrderNotFound, TotalChanged, VariantNotFound,
};

/// Orders.
#[must_use]
pub fn routes() -> Group {
    Group::new("Orders", "What was bought, once a key, and what was cancelled of it.", &[Storefront])
        .with(
            post("/orders", "orders.place", place::place)
                .says(
                    "Place an order",
                    "All lines or none, at the catalogue's prices. The key belongs to the user, and makes one order for \
                     ever. An order whose cancellation came before it is born cancelled.",
                )
                .needs_key()
                .guarded()
                .answers::<Order>(201, "The order.")
                .answers::<Order>(200, "The order that this key made, when its first answer is no longer kept.")
                .refuses(&[VariantNotFound, InsufficientStock, TotalChanged, CurrencyMismatch, LimitExceeded])
                .example(json!({
                    "user_id": "ann", "currency": "EUR", "expected_total": "25.00", "metadata": {"basket": "b-4711"},
                    "lines": [{"variant_id": example_of("variant_id"), "quantity": 2}],
                })),
        )
        .with(
            get("/orders", "orders.list", read::list_orders)
                .says("List orders", "Newest first, at most 100 a page.")
                .answers::<Page<Order>>(200, "A page of them.")
                .example(json!({"user_id": "ann", "status": "placed", "limit": 10})),
        )
        .with(
            get("/orders/{order_id}", "orders.get", read::get_order)
                .says("Look at an order", "")
                .answers::<Order>(200, "The order.")
                .refuses(&[OrderNotFound]),
        )
        .with(
            get("/orders/{order_id}/history", "orders.history", history::get_history)
                .says("Look at the story of an order", "Its key, what was cancelled of it and by whom, the webhooks that came for it, and, for operators, who was told of it.")
                .answers::<history::OrderHistory>(200, "All that is known of it.")
                .refuses(&[OrderNotFound]),
        )
        .with(
            post("/orders/{order_id}/cancel", "orders.cancel", cancel::cancel)
                .says(
                    "Cancel an order",
                    "Without lines all that is left of it; to do so twice changes nothing. With lines so many more each \
                     time: send a key with it.",
                )
                .guarded()
                .answers::<Order>(200, "The order as it is now.")
                .refuses(&[OrderNotFound, CancelExceedsOrdered, LimitExceeded])
                .example(json!({
                    "reason": "changed her mind", "lines": [{"line_id": example_of("line_id"), "quantity": 1}],
                })),
        )
        .with(
            get("/idempotency-keys/{key}", "orders.look_up_key", look_up_key::look_up_key)
                .at("orders-place-4711")
                .says("Ask what became of a key", "Of an order of this user; without a user, of a request of one's own.")
                .answers::<look_up_key::KeySeen>(200, "How far its first request is.")
                .refuses(&[IdempotencyKeyInvalid, IdempotencyKeyNotFound])
                .example(json!({"user_id": "ann"})),
        )
}
