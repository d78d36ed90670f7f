//! The calls of stock and catalogue: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::levels::{LevelNow, LevelThen};
use super::model::{Movement, Variant};
use super::{adjust, audit, audits, batch, check_stock, create_variant, decrement, increment, levels};
use crate::http::api::document::example_of;
use crate::http::api::{Group, get, post};
use crate::http::auth::Scope::{Storefront, Warehouse};
use crate::http::page::Page;
use crate::http::problem::Code::{
    BatchRefused, InsufficientStock, LimitExceeded, SkuTaken, StaleQuantity, VariantNotFound,
};

/// The catalogue.
#[must_use]
pub fn variants() -> Group {
    Group::new("Variants", "What can be sold: the catalogue, and its prices.", &[Storefront, Warehouse])
        .with(
            post("/variants", "variants.create", create_variant::create_variant)
                .says("Add a variant to the catalogue", "Its opening stock is its first movement.")
                .open_to(&[])
                .guarded()
                .answers::<Variant>(201, "It is in the catalogue.")
                .refuses(&[SkuTaken])
                .example(json!({
                    "sku": "15056BL", "name": "Black umbrella", "price": "12.50", "currency": "EUR", "on_hand": 100,
                })),
        )
        .with(
            get("/variants", "variants.list", levels::list_variants)
                .says("List variants", "In the order they were made.")
                .answers::<Page<Variant>>(200, "A page of them.")
                .example(json!({"sku": "15056BL", "limit": 10})),
        )
        .with(
            get("/variants/{variant_id}", "variants.get", levels::get_variant)
                .says("Look at a variant", "")
                .answers::<Variant>(200, "The variant.")
                .refuses(&[VariantNotFound]),
        )
}

/// Stock.
#[must_use]
pub fn routes() -> Group {
    let about = "How many there are of each variant, and every movement that made it so.";
    let group = Group::new("Stock", about, &[Storefront, Warehouse]);
    changes(reads(group))
}

fn reads(group: Group) -> Group {
    group
        .with(
            get("/inventory/{variant_id}", "inventory.get", levels::get_level)
                .says("Look at a variant's stock", "Now, or as its movements have it of a time.")
                .answers::<LevelNow>(200, "Its stock, with an `ETag` if it is that of now.")
                .answers::<LevelThen>(200, "")
                .refuses(&[VariantNotFound]),
        )
        .with(
            get("/inventory/{variant_id}/movements", "inventory.movements", levels::list_movements)
                .says("List a variant's movements", "Newest first.")
                .answers::<Page<Movement>>(200, "A page of them.")
                .refuses(&[VariantNotFound])
                .example(json!({"limit": 20})),
        )
        .with(
            get("/inventory/check-stock/{variant_id}", "inventory.check", check_stock::check_stock)
                .says("Ask whether so many are available", "")
                .answers::<check_stock::Checked>(200, "How many are available, and whether that is enough.")
                .refuses(&[VariantNotFound])
                .example(json!({"quantity": 2})),
        )
        .with(
            post("/inventory/check-stock/bulk", "inventory.check_bulk", check_stock::check_stock_bulk)
                .says(
                    "Ask of many variants at once",
                    "Items of one variant count together, as in an order. A variant that does not exist has none \
                     available.",
                )
                .patient()
                .answers::<check_stock::CheckedAll>(200, "The same of each, and of all.")
                .example(json!([{"variant_id": example_of("variant_id"), "quantity": 2}])),
        )
        .with(
            get("/inventory/audit", "inventory.audit", audit::audit)
                .says(
                    "Compute everything anew, and tell what does not agree",
                    "Every balance from its movements, every order from its lines. It repairs nothing, and may take \
                     minutes.",
                )
                .open_to(&[])
                .answers::<audit::Audit>(200, "What was looked at, and what was found."),
        )
        .with(
            get("/inventory/audits", "inventory.audits", audits::list_audits)
                .says("List what audits found", "Newest first, at most 100 a page.")
                .open_to(&[])
                .answers::<Page<audits::KeptAudit>>(200, "A page of verdicts."),
        )
}

fn changes(group: Group) -> Group {
    group
        .with(
            post("/inventory/{variant_id}/adjust", "inventory.adjust", adjust::adjust)
                .says("Correct a variant's stock", "With `change_from`, only if there are as many as is believed.")
                .open_to(&[Warehouse])
                .guarded()
                .answers::<Movement>(200, "The movement.")
                .refuses(&[VariantNotFound, InsufficientStock, StaleQuantity, LimitExceeded])
                .example(json!({"delta": -2, "reason": "broken in the warehouse", "reference": "report 17"})),
        )
        .with(
            post("/inventory/{variant_id}/decrement", "inventory.decrement", decrement::decrement)
                .says("Sell some", "All of them or none.")
                .open_to(&[Storefront])
                .guarded()
                .answers::<Movement>(200, "The movement.")
                .refuses(&[VariantNotFound, InsufficientStock])
                .example(json!({"quantity": 1, "reason": "sold by telephone"})),
        )
        .with(
            post("/inventory/{variant_id}/increment", "inventory.increment", increment::increment)
                .says("Take some back", "")
                .open_to(&[Storefront])
                .guarded()
                .answers::<Movement>(200, "The movement.")
                .refuses(&[VariantNotFound, LimitExceeded])
                .example(json!({"quantity": 1, "reference": "return 42"})),
        )
        .with(
            post("/inventory/batch", "inventory.batch", batch::batch)
                .says(
                    "Change many at once",
                    "`atomic`: all or none; a refusal names every operation that can't be done. `independent`: each for \
                     itself. Later operations see what earlier ones left. To adjust needs the scope `warehouse`, to \
                     decrement or increment `storefront`.",
                )
                .guarded()
                .answers::<batch::Results>(200, "What each came to, in their order.")
                .refuses(&[InsufficientStock, BatchRefused])
                .example(json!({"mode": "atomic", "operations": [
                    {"op": "decrement", "variant_id": example_of("variant_id"), "quantity": 1},
                    {"op": "adjust", "variant_id": example_of("variant_id"), "delta": 5, "reason": "found"},
                ]})),
        )
}
