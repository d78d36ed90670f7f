//! Invoices of suppliers, each taken in once, however it is spelled, scanned or issued again.
//!
//! Nouns: an **invoice** has **lines**; a **policy** says how strict its account is. Verbs: [`take_in`] keeps one that is
//! new, [`take_batch`] many; [`check`] only tells; [`override_verdict`] lets a flagged one pass, and may learn a name, which
//! [`forget_name`] unlearns; [`void`] takes one out; [`receive`] puts what it bills into stock; [`set_policy`]. Reads:
//! [`read`].
//!
//! What must stay true:
//! - The verdict and the row are one transaction, under the locks of every [blocking key](rules::blocking_keys): of two
//!   uploads that could exclude each other, whatever their numbers, the second sees the first. In Redis by the lease,
//!   in Postgres by name.
//! - Behind the verdicts stand unique indexes: a file is in once, and so is a vendor's number in a year, unless somebody
//!   let it pass.
//! - What is looked at is found by index, and bounded; a verdict says where that bound was met.
//! - What is told is why: each field, what both say, and what it weighs.
//! - What is voided stands in nobody's way; who was flagged for its sake alone is free at that moment.
//! - A name stands for one vendor's, never for another name that does: names are learned one after the other. An invoice
//!   keeps the name it bears; what that stands for is asked whenever it is looked at.
//! - A line comes in once, under the lock of its stock, by one movement a receipt.

mod case;
pub mod check;
pub mod compare;
pub mod error;
pub mod forget_name;
pub mod model;
pub mod numbers;
pub mod override_verdict;
pub mod read;
pub mod receive;
pub mod rules;
pub mod set_policy;
pub mod spelling;
mod store;
pub mod take_batch;
pub mod take_in;
pub mod void;
