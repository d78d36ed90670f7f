//! Stock: how many there are of each variant, and every change that made it so.
//!
//! Nouns: a **variant** is what is sold; its **level** is `on_hand`, `held` and `version`; a **movement** is
//! one change, kept for ever. Verbs: [`create_variant`], [`adjust`], [`decrement`], [`increment`],
//! [`batch`]; reads: [`levels`], [`check_stock`], [`audit`],
//! [`audits`].
//!
//! What must stay true:
//! - A level changes only under its lease and its row lock, together with the movement that says why.
//! - `on_hand` is the sum of the variant's deltas, and `version` counts its movements without a gap.
//! - `0 <= on_hand <= 9,000,000,000,000`; nobody takes what is held for somebody else.
//! - Movements are never changed. A mistake is corrected by a new one.

pub mod adjust;
pub mod audit;
pub mod audits;
pub mod batch;
pub mod change;
pub mod check_stock;
pub mod create_variant;
pub mod decrement;
pub mod error;
pub mod increment;
pub mod ledger;
pub mod levels;
pub(crate) mod low;
pub mod model;
pub mod operation;
pub mod routes;
pub mod rules;
pub(crate) mod store;
pub mod verdict;

pub use self::error::StockError;
