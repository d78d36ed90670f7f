//! The ways a till's invoice can be refused, or fail to be reached.

use axum::response::{IntoResponse, Response};

use super::model::PosState;
use super::rules::{Refusal, Shortage};
use crate::db::{Collides, DbError};
use crate::http::problem::{Code, FieldError, Problem};
use crate::idempotency::{IdempotencyError, Refuses};
use crate::locks::{LockClass, LockError, TooManyKeys};

/// What can keep a till's call from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum PosError {
    /// There is no such invoice.
    #[error("there is no such invoice")]
    NotFound,
    /// It was edited between being read and being locked: to be begun anew.
    #[error("the invoice was edited meanwhile")]
    Moved,
    /// Somebody else is at it.
    #[error("another update of the invoice is in progress")]
    Busy,
    /// What it sells or brings back stayed locked by others.
    #[error("the stock stayed locked")]
    StockLocked(#[source] DbError),
    /// The rules say no.
    #[error("the invoice refuses")]
    Refused(#[from] Refusal),
    /// The idempotency key says no.
    #[error("the idempotency key refuses")]
    Idempotency(#[from] IdempotencyError),
    /// No lease was to be had.
    #[error("no lease was to be had")]
    Lock(LockError),
    /// Too many variants at once.
    #[error("too many variants at once")]
    TooManyKeys(#[from] TooManyKeys),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
}

impl From<LockError> for PosError {
    /// Whoever waits for an invoice is told so in its own words; who waits for stock, as everywhere.
    fn from(error: LockError) -> Self {
        match &error {
            LockError::Busy { key, .. } if key.class() == LockClass::Invoice => Self::Busy,
            _ => Self::Lock(error),
        }
    }
}

impl PosError {
    /// Whoever waits in vain in Postgres waits for the invoice, and is told so: stock says so [itself](Self::of_stock).
    #[must_use]
    pub(super) fn of_a_till(self) -> Self {
        match self {
            Self::Db(DbError::RowLocked(_)) => Self::Busy,
            error => error,
        }
    }

    /// What came of locking stock.
    pub(super) fn of_stock(error: DbError) -> Self {
        match error {
            DbError::RowLocked(_) => Self::StockLocked(error),
            error => Self::Db(error),
        }
    }
}

impl IntoResponse for PosError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Refuses for PosError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl Collides for PosError {
    fn collided(&self) -> bool {
        matches!(self, Self::Db(DbError::Collision(_)))
    }
}

impl Refusal {
    /// The refusal as a caller sees it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Stale(newest) => {
                let error = FieldError::new("version", format!("the newest version is {newest}"));
                let error = FieldError { actual: Some((*newest).into()), ..error };
                let detail = format!("The newest version is {newest}: read it, and make the edit from that.");
                Problem::new(Code::StaleInvoice, detail).with_errors(vec![error])
            }
            Self::NotADraft(PosState::Returned) => {
                Problem::new(Code::InvoiceReturned, "The invoice's items were sold and came back.")
            }
            Self::NotADraft(_) => {
                Problem::new(Code::InvoiceSubmitted, "The invoice's items are sold: it is edited no more.")
            }
            Self::NotSubmitted => Problem::new(
                Code::InvoiceNotSubmitted,
                "Nothing of this invoice is sold, so nothing can come back.",
            ),
            Self::VariantsNotFound(items) => {
                let errors = items.iter().map(|(item, variant_id)| {
                    let error =
                        FieldError::new(format!("items[{item}].variant_id"), "there is no such variant");
                    FieldError { variant_id: Some(*variant_id), ..error }
                });
                Problem::new(Code::VariantNotFound, "Some items name variants that do not exist.")
                    .with_errors(errors.collect())
            }
            Self::CurrencyMismatch(items) => {
                let errors = items.iter().map(|(item, currency)| {
                    FieldError::new(format!("items[{item}].variant_id"), format!("is priced in {currency}"))
                });
                Problem::new(
                    Code::CurrencyMismatch,
                    "All items of an invoice must be priced in one currency.",
                )
                .with_errors(errors.collect())
            }
            Self::TotalTooLarge => {
                let error = FieldError::new("items", "sum to more than 24 digits");
                Problem::new(Code::LimitExceeded, "The total would have more than 24 digits.")
                    .with_errors(vec![error])
            }
            Self::Short(items) => {
                let detail = items.first().map_or_else(String::new, says);
                Problem::new(Code::InsufficientStock, detail).with_errors(items.iter().map(short).collect())
            }
            Self::Stock(refusal) => refusal.problem(),
        }
    }
}

fn says(short: &Shortage) -> String {
    format!("Insufficient stock. Available: {}, Requested: {}", short.available, short.requested)
}

fn short(short: &Shortage) -> FieldError {
    FieldError {
        variant_id: Some(short.variant_id),
        requested: Some(short.requested),
        available: Some(short.available),
        ..FieldError::new(format!("items[{}].quantity", short.item), says(short))
    }
}
