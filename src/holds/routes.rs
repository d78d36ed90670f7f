//! The calls of holds: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::model::Hold;
use super::{capture, extend, hold, read, release};
use crate::http::api::document::example_of;
use crate::http::api::{Group, get, post};
use crate::http::auth::Scope::Storefront;
use crate::http::page::Page;
use crate::http::problem::Code::{
    CaptureExceedsHeld, CurrencyMismatch, HoldCaptured, HoldExpired, HoldNotFound, HoldReleased,
    InsufficientStock, LimitExceeded, TooManyHolds, VariantNotFound,
};
use crate::orders::model::Order;

/// Holds.
#[must_use]
pub fn routes() -> Group {
    let over = &[HoldNotFound, HoldCaptured, HoldReleased, HoldExpired];
    Group::new("Holds", "Stock that is kept for a user while they pay.", &[Storefront])
        .with(
            post("/holds", "holds.hold", hold::hold)
                .says(
                    "Hold stock for a user",
                    "All lines or none, at the prices of now. What is held is not available to others, until the hold \
                     is captured or released, or its time is over. A user may have 20 that live. `replaces` names one \
                     of the user's whose place it takes.",
                )
                .needs_key()
                .guarded()
                .answers::<Hold>(201, "The hold.")
                .refuses(over)
                .refuses(&[VariantNotFound, InsufficientStock, CurrencyMismatch, LimitExceeded, TooManyHolds])
                .example(json!({
                    "user_id": "ann", "ttl_seconds": 900,
                    "lines": [{"variant_id": example_of("variant_id"), "quantity": 2}],
                })),
        )
        .with(
            get("/holds", "holds.list", read::list_holds)
                .says("List a user's holds", "Newest first, at most 100 a page.")
                .answers::<Page<Hold>>(200, "A page of them.")
                .example(json!({"user_id": "ann", "state": "held"})),
        )
        .with(
            get("/holds/{hold_id}", "holds.get", read::get_hold)
                .says("Look at a hold", "")
                .answers::<Hold>(200, "The hold.")
                .refuses(&[HoldNotFound]),
        )
        .with(
            post("/holds/{hold_id}/capture", "holds.capture", capture::capture)
                .says(
                    "Make an order of a hold",
                    "Whole, or the lines that are named; the rest is available again. At the prices of the hold.",
                )
                .needs_key()
                .guarded()
                .answers::<Order>(201, "The order.")
                .answers::<Order>(200, "The order that this key made, when its first answer is no longer kept.")
                .refuses(over)
                .refuses(&[CaptureExceedsHeld, InsufficientStock])
                .example(json!({"lines": [{"line_id": example_of("line_id"), "quantity": 1}]})),
        )
        .with(
            post("/holds/{hold_id}/release", "holds.release", release::release)
                .says("Give a hold up", "What it kept is available for the very next request.")
                .guarded()
                .answers::<Hold>(200, "The hold, as it ended.")
                .refuses(over)
                .example(json!({})),
        )
        .with(
            post("/holds/{hold_id}/extend", "holds.extend", extend::extend)
                .says("Make a hold last longer", "Its time counts anew from now.")
                .guarded()
                .answers::<Hold>(200, "The hold, with its new end.")
                .refuses(over)
                .example(json!({"ttl_seconds": 600})),
        )
}
