//! Suppliers' invoices as they come in: with typing errors, read by scanners, issued again, in parts, anew each year, the
//! same each month. Each is labelled, so that rules that tell duplicates can be compared.
//!
//! [`vendor`] writes the invoices that are due, [`noise`] what comes in once more of some of them, [`set`] the whole, and
//! [`judge`] asks the service's own rules, and others', about each beside all that came before.

pub mod judge;
pub mod noise;
pub mod set;
pub mod vendor;

pub use judge::run;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The same seed, the same set.
    pub seed: u64,
    /// How many accounts there are.
    pub accounts: usize,
    /// How many vendors each has.
    pub vendors: usize,
}

/// An invoice as it is uploaded.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Who bills.
    pub vendor: String,
    /// The number on it.
    pub number: String,
    /// The date on it, as days since 1970.
    pub day: i32,
    /// What is to be paid, in cents.
    pub cents: i64,
    /// What is billed: words, quantity, cents for one.
    pub lines: Vec<(String, i64, i64)>,
    /// When it comes in, as days since 1970.
    pub comes_in: i32,
    /// Why it is one that came in before, if it is.
    pub again: Option<&'static str>,
}
