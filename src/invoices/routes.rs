//! The calls of invoices: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::intake::model::{Invoice, Received};
use super::intake::{check, forget_name, override_verdict, receive, set_policy, take_batch, take_in, void};
use super::markers::model::{Ended, Running, Started};
use super::markers::{beat, clear, fail, finish, start};
use super::pos::model::PosInvoice;
use super::pos::{save, submit, take_back};
use super::{intake, markers, pos};
use crate::http::api::document::example_of;
use crate::http::api::{Group, Operation, delete, get, post, put};
use crate::http::auth::Scope::Finance;
use crate::http::page::Page;
use crate::http::problem::Code::{
    AlreadyProcessing, CurrencyMismatch, DuplicateInvoice, InsufficientStock, InvoiceBusy, InvoiceFlagged,
    InvoiceNotFlagged, InvoiceNotFound, InvoiceNotSubmitted, InvoiceReceived, InvoiceReturned,
    InvoiceSubmitted, InvoiceVoided, LimitExceeded, MarkerLost, MarkerNotFound, NotMarkerOwner,
    NothingToReceive, ReceiveExceedsInvoiced, StaleInvoice, VariantNotFound, VendorNameNotLearned,
};

/// Invoices of tills.
#[must_use]
pub fn of_tills() -> Group {
    let about = "Several tills write one invoice by its name, each from the newest version, and one of them sells it.";
    let busy = &[InvoiceNotFound, InvoiceBusy, LimitExceeded];
    Group::new("Invoices of tills", about, &[Finance])
        .with(
            put("/pos/invoices/{name}", "pos.save", save::save)
                .says("Write an invoice", "Its next version, made from `version`; 0 makes it.")
                .guarded()
                .answers::<PosInvoice>(200, "The next version.")
                .answers::<PosInvoice>(201, "The first version.")
                .refuses(&[InvoiceBusy, StaleInvoice, InvoiceSubmitted, InvoiceReturned])
                .refuses(&[VariantNotFound, CurrencyMismatch, LimitExceeded])
                .example(json!({
                    "version": 0, "customer": "Ann",
                    "items": [{"variant_id": example_of("variant_id"), "quantity": 1, "unit_price": "11.90"}],
                })),
        )
        .with(
            get("/pos/invoices/{name}", "pos.get", pos::read::get_invoice)
                .says("Look at an invoice", "")
                .answers::<PosInvoice>(200, "Its newest version.")
                .refuses(&[InvoiceNotFound]),
        )
        .with(
            get("/pos/invoices/{name}/history", "pos.history", pos::read::list_history)
                .says("List its versions", "The first one first, at most 100 a page.")
                .answers::<Page<PosInvoice>>(200, "A page of them.")
                .refuses(&[InvoiceNotFound])
                .example(json!({"limit": 10})),
        )
        .with(
            post("/pos/invoices/{name}/submit", "pos.submit", submit::submit)
                .says("Sell its items", "All or none, once.")
                .guarded()
                .answers::<PosInvoice>(200, "It is sold.")
                .refuses(busy)
                .refuses(&[StaleInvoice, InvoiceReturned, InsufficientStock])
                .example(json!({"version": 1})),
        )
        .with(
            post("/pos/invoices/{name}/return", "pos.return", take_back::take_back)
                .says("Take its items back", "The whole of it, once.")
                .guarded()
                .answers::<PosInvoice>(200, "What was sold is back in stock.")
                .refuses(busy)
                .refuses(&[InvoiceNotSubmitted])
                .example(json!({"reason": "wrong colour"})),
        )
}

/// Invoices of suppliers.
#[must_use]
pub fn of_suppliers() -> Group {
    let about = "Each is in once, however it is spelled; what is only like another is told so, with reasons.";
    let group = Group::new("Invoices of suppliers", about, &[Finance]);
    policies(names(decisions(intake(group))))
}

fn intake(group: Group) -> Group {
    group
        .with(
            post("/invoices", "invoices.take_in", take_in::take_in)
                .says(
                    "Take an invoice in",
                    "If it is not in already. A near duplicate is refused, or kept flagged.",
                )
                .guarded()
                .answers::<Invoice>(201, "It is in.")
                .refuses(&[DuplicateInvoice, MarkerLost, NotMarkerOwner])
                .example(given("INV-2026-0815")),
        )
        .with(
            post("/invoices/batch", "invoices.take_batch", take_batch::take_batch)
                .says(
                    "Take many in",
                    "Judged in their order, one beside another too; one that is wrong keeps no other out.",
                )
                .guarded()
                .answers::<take_batch::Results>(200, "What became of each, in their order.")
                .refuses(&[DuplicateInvoice])
                .example(json!({"invoices": [given("INV-2026-0915")]})),
        )
        .with(
            post("/invoices/check", "invoices.check", check::check)
                .says("Ask what an invoice would be judged as", "Nothing is written, and nothing promised.")
                .ignores_key()
                .answers::<check::Checked>(200, "The verdict.")
                .example(given("INV-2026-0815")),
        )
        .with(
            get("/invoices", "invoices.list", intake::read::list_invoices)
                .says(
                    "List invoices",
                    "The last uploaded first, at most 100 a page, and fewer of many lines; vendor and number in any spelling.",
                )
                .answers::<Page<Invoice>>(200, "A page of them.")
                .example(json!({"account_id": example_of("account_id"), "vendor_name": "ACME limited"})),
        )
        .with(
            get("/invoices/{invoice_id}", "invoices.get", intake::read::get_invoice)
                .says("Look at an invoice", "")
                .answers::<Invoice>(200, "The invoice.")
                .refuses(&[InvoiceNotFound]),
        )
}

fn given(number: &str) -> serde_json::Value {
    json!({
        "account_id": example_of("account_id"), "vendor_name": "Acme Ltd", "invoice_number": number,
        "invoice_date": "2026-03-31", "total": "119.00", "currency": "EUR", "on_duplicate": "flag",
        "lines": [{"sku": "15056BL", "description": "Umbrella, black", "quantity": 10, "unit_price": "11.90"}],
    })
}

fn decisions(group: Group) -> Group {
    let known = |operation: Operation| operation.guarded().refuses(&[InvoiceNotFound]);
    group
        .with(
            known(post(
                "/invoices/{invoice_id}/override",
                "invoices.override",
                override_verdict::override_verdict,
            ))
            .says(
                "Let a flagged invoice pass",
                "Names that are alike are one vendor's from then on, unless `same_vendor` is false; others if it is true.",
            )
            .answers::<Invoice>(200, "It passed.")
            .refuses(&[InvoiceNotFlagged, InvoiceVoided, DuplicateInvoice])
            .example(json!({"reason": "two deliveries", "same_vendor": false})),
        )
        .with(
            known(post("/invoices/{invoice_id}/void", "invoices.void", void::void))
                .says("Take an invoice out", "What was flagged for its sake alone is free.")
                .answers::<void::Voided>(200, "It is out.")
                .refuses(&[InvoiceReceived, DuplicateInvoice])
                .example(json!({"reason": "typed in twice"})),
        )
        .with(
            known(post("/invoices/{invoice_id}/receive", "invoices.receive", receive::receive))
                .says(
                    "Put what it bills into stock",
                    "Without lines all that is left of those that name a SKU.",
                )
                .answers::<Received>(200, "What came in.")
                .refuses(&[InvoiceFlagged, InvoiceVoided, NothingToReceive, ReceiveExceedsInvoiced])
                .refuses(&[VariantNotFound, LimitExceeded])
                .example(json!({"lines": [{"line_id": example_of("line_id"), "quantity": 4}]})),
        )
}

fn names(group: Group) -> Group {
    group.with(
        post("/invoices/vendors/forget", "invoices.forget_name", forget_name::forget_name)
            .says(
                "Forget what a vendor's name stands for",
                "It stands for itself again, for what is in as for what comes in; what is in stays as it was judged.",
            )
            .guarded()
            .answers::<forget_name::Forgotten>(200, "What it stood for, and who had said so.")
            .refuses(&[VendorNameNotLearned])
            .example(json!({
                "account_id": example_of("account_id"), "vendor_name": "Parkhaus Nord 1", "reason": "two car parks",
            })),
    )
}

fn policies(group: Group) -> Group {
    group
        .with(
            get("/invoices/policies/{account_id}", "invoices.get_policy", set_policy::get_policy)
                .says("Look at an account's policy", "")
                .answers::<set_policy::PolicyTold>(200, "The policy in force."),
        )
        .with(
            put("/invoices/policies/{account_id}", "invoices.set_policy", set_policy::set_policy)
                .says(
                    "Say how strict an account is",
                    "What is left out is as usual. What is in stays as it was judged.",
                )
                .answers::<set_policy::PolicyTold>(200, "The policy in force.")
                .example(json!({"on_duplicate": "flag", "threshold": 80, "date_window_days": 7})),
        )
}

/// Processing markers.
#[must_use]
pub fn markers() -> Group {
    let about = "Who reads which file: a worker says so, and nobody else reads it meanwhile.";
    let group = Group::new("Processing markers", about, &[Finance])
        .with(
            post("/invoices/processing", "markers.start", start::start)
                .says("Begin work on a file", "Unless somebody is at it, be it the same caller.")
                .patient()
                .answers::<Started>(201, "The file is the caller's.")
                .refuses(&[AlreadyProcessing])
                .example(json!({"account_id": example_of("account_id"), "file_hash": "2cf24dba5fb0a30e"})),
        )
        .with(
            post("/invoices/processing/{marker}/beat", "markers.beat", beat::beat)
                .says("Say that work goes on", "")
                .ignores_key()
                .answers::<Started>(200, "Until when it counts.")
                .refuses(&[MarkerLost, NotMarkerOwner])
                .example(json!({"fence": 1, "progress": 40})),
        )
        .with(
            post("/invoices/processing/{marker}/finish", "markers.finish", finish::finish)
                .says("Say that a file is worked off", "Once.")
                .patient()
                .answers::<Ended>(200, "It is.")
                .refuses(&[MarkerLost, NotMarkerOwner])
                .example(json!({"fence": 1})),
        )
        .with(
            post("/invoices/processing/{marker}/fail", "markers.fail", fail::fail)
                .says("Give the work up", "The next one may begin at once.")
                .patient()
                .answers::<Ended>(200, "It is given up.")
                .refuses(&[MarkerLost, NotMarkerOwner])
                .example(json!({"fence": 1, "reason": "the file is no PDF"})),
        );
    reads_of_markers(group)
}

fn reads_of_markers(group: Group) -> Group {
    let of_file = json!({"account_id": example_of("account_id"), "file_hash": "2cf24dba5fb0a30e"});
    group
        .with(
            get("/invoices/processing", "markers.get_of_file", markers::read::get_of_file)
                .says("Ask who is at a file", "")
                .answers::<Running>(200, "Who, since when and how far.")
                .refuses(&[MarkerNotFound])
                .example(of_file.clone()),
        )
        .with(
            get("/invoices/processing/{marker}", "markers.get", markers::read::get_marker)
                .says("Ask who is at a file", "By its marker.")
                .answers::<Running>(200, "Who, since when and how far.")
                .refuses(&[MarkerNotFound]),
        )
        .with(
            delete("/invoices/processing", "markers.clear_of_file", clear::clear_of_file)
                .says("Let a file go", "Its owner alone can.")
                .answers::<Ended>(200, "It is free.")
                .refuses(&[MarkerNotFound, NotMarkerOwner, MarkerLost])
                .example(of_file),
        )
        .with(
            delete("/invoices/processing/{marker}", "markers.clear", clear::clear_marker)
                .says("Let a file go", "By its marker. Its owner alone can.")
                .answers::<Ended>(200, "It is free.")
                .refuses(&[MarkerNotFound, NotMarkerOwner, MarkerLost]),
        )
}
