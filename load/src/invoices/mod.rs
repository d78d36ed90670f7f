//! Suppliers' invoices as they come in: with typing errors, read by scanners, issued again, in parts, anew each year, the
//! same each month. Each is labelled, so that rules that tell duplicates can be compared.
//!
//! [`vendor`] writes the invoices that are due under names from [`names`], [`noise`] what comes in once more of some of them
//! and how it was [`slip`]ped at, [`set`] the whole; [`judge`] asks the service's own rules, and its [`rivals`], about each
//! beside all that came before, and [`plot`] draws what came of it. [`checks`] asks a running service, and measures how long
//! it takes.

pub mod checks;
pub mod judge;
pub mod names;
pub mod noise;
pub mod plot;
pub mod rivals;
pub mod set;
pub mod slip;
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
    /// Who bills, as it was written.
    pub vendor: String,
    /// Who that is, whatever was written.
    pub partner: usize,
    /// The number on it.
    pub number: String,
    /// The date on it, as days since 1970.
    pub day: i32,
    /// What is to be paid, in cents.
    pub cents: i64,
    /// In which currency.
    pub currency: &'static str,
    /// What stands for the hash of the file it was read from, if it was sent as one.
    pub file: Option<u64>,
    /// What is billed: words, quantity, cents for one.
    pub lines: Vec<(String, i64, i64)>,
    /// When it comes in, as days since 1970.
    pub comes_in: i32,
    /// Why it is one that came in before, if it is.
    pub again: Option<&'static str>,
}
