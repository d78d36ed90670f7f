//! The ways a supplier's invoice can be refused, or fail to be reached.

use axum::response::{IntoResponse, Response};

use super::model::{InvoiceState, Verdict};
use super::rules::Kind;
use crate::db::{Collides, DbError};
use crate::http::problem::{Code, FieldError, Problem};
use crate::idempotency::{IdempotencyError, Refuses};
use crate::inventory::rules::Refusal as StockRefusal;
use crate::leases::LeaseError;
use crate::locks::{LockClass, LockError, TooManyKeys};

/// What can keep a call about a supplier's invoice from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// There is no such invoice.
    #[error("there is no such invoice")]
    NotFound,
    /// It is in already.
    #[error("the invoice is in already")]
    Duplicate(Box<Verdict>),
    /// It is of a day a year ahead or more.
    #[error("the date is a year ahead or more")]
    TooFarAhead,
    /// The name stands for no other.
    #[error("the name stands for no other")]
    NameNotLearned,
    /// In this state it can't be done.
    #[error("the invoice is {}", .0.as_str())]
    InState(InvoiceState),
    /// Something of it came in.
    #[error("something of the invoice came in")]
    Received,
    /// No line of it names a stock keeping unit.
    #[error("no line of the invoice names a stock keeping unit")]
    NothingToReceive,
    /// It has no such line: which of those given.
    #[error("the invoice has no such line")]
    NoSuchLine(usize),
    /// Lines that name a stock keeping unit nobody knows, by their place on the invoice.
    #[error("lines name stock keeping units nobody knows")]
    UnknownSkus(Vec<usize>),
    /// More would come in than was invoiced, by the place among those given, units and what is left.
    #[error("more would come in than was invoiced")]
    Excess(usize, i64, i64),
    /// The stock refuses.
    #[error("the stock refuses")]
    Stock(#[from] StockRefusal),
    /// The processing marker is no longer the caller's.
    #[error("the processing marker is lost")]
    Marker(#[source] LeaseError),
    /// The processing marker is somebody else's.
    #[error("the processing marker is somebody else's")]
    NotMarkerOwner,
    /// The idempotency key says no.
    #[error("the idempotency key refuses")]
    Idempotency(#[from] IdempotencyError),
    /// No lease was to be had.
    #[error("no lease was to be had")]
    Lock(LockError),
    /// Too many keys at once.
    #[error("too many keys at once")]
    TooManyKeys(#[from] TooManyKeys),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
}

impl From<LockError> for IntakeError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl From<LeaseError> for IntakeError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Db(error) => Self::Db(error),
            LeaseError::NotOwner => Self::NotMarkerOwner,
            error => Self::Marker(error),
        }
    }
}

impl IntakeError {
    /// Another upload stood in the way for too long.
    #[must_use]
    pub fn concurrent() -> Self {
        Self::Duplicate(Box::new(Verdict::new(Kind::Concurrent, 0, Vec::new(), None)))
    }

    /// Whoever waits in vain to upload, here or in Postgres, waits for an upload that may be the same, and is told so.
    #[must_use]
    pub(super) fn of_an_upload(self) -> Self {
        match &self {
            Self::Db(DbError::RowLocked(_)) => Self::concurrent(),
            Self::Lock(LockError::Busy { key, .. }) if key.class() == LockClass::Invoice => {
                Self::concurrent()
            }
            _ => self,
        }
    }
}

impl IntoResponse for IntakeError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Refuses for IntakeError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl Collides for IntakeError {
    fn collided(&self) -> bool {
        matches!(self, Self::Db(DbError::Collision(_)))
    }
}

/// What is told of an invoice that is in already.
pub(crate) fn duplicate(verdict: &Verdict) -> Problem {
    let told = serde_json::to_value(verdict).unwrap_or_default();
    Problem::new(Code::DuplicateInvoice, verdict.message).with("verdict", told)
}

/// What is told where a state stands in the way.
pub(crate) fn in_state(state: InvoiceState) -> Problem {
    match state {
        InvoiceState::Flagged => Problem::new(
            Code::InvoiceFlagged,
            "The invoice is very much like another: override the verdict, or void one of them.",
        ),
        InvoiceState::Voided => Problem::new(Code::InvoiceVoided, "The invoice was voided."),
        InvoiceState::Accepted | InvoiceState::Overridden => Problem::new(
            Code::InvoiceNotFlagged,
            "The invoice is not flagged, so there is nothing to override.",
        ),
    }
}

/// What is told of lines whose stock keeping unit nobody knows.
pub(crate) fn unknown_skus(lines: &[usize]) -> Problem {
    let errors = lines.iter().map(|line| {
        FieldError::new(
            format!("lines[{line}].sku"),
            "no variant has this SKU: create it, or receive other lines",
        )
    });
    Problem::new(Code::VariantNotFound, "Some lines of the invoice name a SKU that no variant has.")
        .with_errors(errors.collect())
}

/// What is told of a line of which more would come in than is left.
pub(crate) fn excess(line: usize, requested: i64, left: i64) -> Problem {
    let error = FieldError {
        requested: Some(requested),
        available: Some(left),
        ..FieldError::new(format!("lines[{line}].quantity"), "is more than is left to receive")
    };
    Problem::new(Code::ReceiveExceedsInvoiced, "More would come in than was invoiced and is left.")
        .with_errors(vec![error])
}

/// What is told of a marker that is no longer the caller's.
pub(crate) fn marker_lost(error: &LeaseError) -> Problem {
    let detail = match error {
        LeaseError::Superseded { newest } => {
            format!("Another worker has taken the file over, under fence {newest}. Nothing was done.")
        }
        LeaseError::Ended(ending) => format!("The work has ended: {}. Nothing was done.", ending.as_str()),
        LeaseError::NotFound | LeaseError::NotOwner | LeaseError::Db(_) => {
            "No work on this file has this fence. Nothing was done.".to_owned()
        }
    };
    Problem::new(Code::MarkerLost, detail)
}

/// Nobody was given this id.
pub(super) fn found<T>(found: Option<T>) -> Result<T, IntakeError> {
    found.ok_or(IntakeError::NotFound)
}
