//! Where errors of the inside become problems of the outside. Exhaustive on purpose: a new error does not
//! compile until it has a row here.

use std::time::Duration;

use super::problem::{Code, FieldError, Problem};
use crate::counts::CountError;
use crate::counts::error::lost;
use crate::db::DbError;
use crate::endpoints::EndpointError;
use crate::events::EventError;
use crate::holds::HoldError;
use crate::holds::error::too_many;
use crate::idempotency::IdempotencyError;
use crate::idempotency::outline::Difference;
use crate::inventory::StockError;
use crate::inventory::error::batch_problem;
use crate::invoices::intake::error::{self as intake, IntakeError};
use crate::invoices::intake::rules::Kind;
use crate::invoices::markers::error::MarkerError;
use crate::invoices::pos::error::PosError;
use crate::locks::{LockError, LockKey};
use crate::operations::OperationsError;
use crate::orders::OrderError;
use crate::webhooks::WebhookError;

/// When to try again after a fault that passes.
const SOON: Duration = Duration::from_secs(1);

impl From<&DbError> for Problem {
    fn from(error: &DbError) -> Self {
        let away = "The database can't be reached. What was under way is either done or not; repeat it with \
                    the same Idempotency-Key to learn which.";
        match error {
            DbError::Unavailable(_) => Self::new(Code::DatabaseUnavailable, away).retry_after(SOON),
            DbError::PoolExhausted => {
                Self::new(Code::Overloaded, "All database connections are busy. Nothing was done.")
                    .retry_after(SOON)
            }
            DbError::RowLocked(_) => {
                Self::new(Code::LockTimeout, "Another transaction holds a row this needs. Nothing was done.")
                    .retry_after(SOON)
            }
            DbError::Collision(_) => {
                Self::new(Code::LockTimeout, "This kept colliding with other requests. Nothing was done.")
                    .retry_after(SOON)
            }
            DbError::Unexpected(_) => Self::new(Code::Internal, "The request was not carried out."),
        }
        .caused_by(error)
    }
}

impl From<&LockError> for Problem {
    fn from(error: &LockError) -> Self {
        match error {
            LockError::Busy { key: LockKey::Order(_), .. } => Self::from(&IdempotencyError::InFlight),
            LockError::Busy { key, holder_age, waited } => {
                let what = match key {
                    LockKey::Inventory(variant_id) => format!("Variant {variant_id}"),
                    key => key.to_string(),
                };
                let age = holder_age.map_or_else(String::new, |age| {
                    format!(" Its holder has had it for {} ms.", age.as_millis())
                });
                let waited = waited.as_millis();
                let detail = format!(
                    "{what} stayed busy for the {waited} ms that a request waits.{age} Nothing was done."
                );
                Self::new(Code::LockTimeout, detail).retry_after(SOON)
            }
            LockError::Overloaded => {
                Self::new(Code::Overloaded, "Too many requests wait already. This one did nothing.")
                    .retry_after(SOON)
            }
            LockError::CallerGone => Self::new(Code::RequestTimeout, "The caller hung up while it waited."),
        }
        .caused_by(error)
    }
}

impl From<&IdempotencyError> for Problem {
    fn from(error: &IdempotencyError) -> Self {
        match error {
            IdempotencyError::Missing => Self::new(
                Code::IdempotencyKeyMissing,
                "Send an Idempotency-Key header: 1 to 255 visible ASCII characters, new for each new order and the \
                 same for its retries.",
            ),
            IdempotencyError::Invalid => Self::new(
                Code::IdempotencyKeyInvalid,
                "One Idempotency-Key header of 1 to 255 visible ASCII characters, bare or in double quotes.",
            ),
            IdempotencyError::Reused(differences) => reused(differences),
            IdempotencyError::InFlight => Self::new(
                Code::IdempotencyInFlight,
                "The first request with this key has not ended yet. Try again to get its answer.",
            )
            .retry_after(SOON),
            IdempotencyError::Unknown => {
                Self::new(Code::IdempotencyKeyNotFound, "No request with this key has come to an end.")
            }
        }
    }
}

/// Says where the two requests differ, if that is known; never what the first one said.
fn reused(differences: &[Difference]) -> Problem {
    let detail = "The first request with this key was another one. Send that one again to get its answer, or use a new \
                  key for a new request.";
    let errors = differences.iter().map(|found| FieldError::new(&found.field, found.how.to_string()));
    Problem::new(Code::IdempotencyKeyReused, detail).with_errors(errors.collect())
}

impl From<&StockError> for Problem {
    fn from(error: &StockError) -> Self {
        match error {
            StockError::Refused(refusal) => refusal.problem(),
            StockError::SkuTaken => {
                let field = FieldError::new("sku", "is taken by another variant");
                Self::new(Code::SkuTaken, "Another variant has this SKU.").with_errors(vec![field])
            }
            StockError::Batch(failures) => batch_problem(failures),
            StockError::Idempotency(error) => error.into(),
            StockError::Lock(error) => error.into(),
            StockError::Db(error) => error.into(),
            StockError::TooManyKeys(error) => Self::invalid("operations", error.to_string()),
        }
    }
}

impl From<&OrderError> for Problem {
    fn from(error: &OrderError) -> Self {
        match error {
            OrderError::NotFound => Self::new(Code::OrderNotFound, "There is no order with this id."),
            OrderError::IsThere => Self::from(&IdempotencyError::InFlight),
            OrderError::Refused(refusal) => refusal.problem(),
            OrderError::Idempotency(error) => error.into(),
            OrderError::Lock(error) => error.into(),
            OrderError::Db(error) => error.into(),
            OrderError::TooManyKeys(error) => Self::invalid("lines", error.to_string()),
        }
    }
}

impl From<&HoldError> for Problem {
    fn from(error: &HoldError) -> Self {
        match error {
            HoldError::NotFound => Self::new(Code::HoldNotFound, "There is no hold with this id."),
            HoldError::TooMany => too_many(),
            HoldError::Refused(refusal) => refusal.problem(),
            HoldError::Order(error) => error.into(),
            HoldError::Idempotency(error) => error.into(),
            HoldError::Lock(error) => error.into(),
            HoldError::Db(error) => error.into(),
            HoldError::TooManyKeys(error) => Self::invalid("lines", error.to_string()),
        }
    }
}

impl From<&PosError> for Problem {
    fn from(error: &PosError) -> Self {
        let busy = "Another update of this invoice is in progress. Please try again.";
        match error {
            PosError::NotFound => Self::new(Code::InvoiceNotFound, "There is no invoice with this name."),
            PosError::Moved | PosError::Busy => Self::new(Code::InvoiceBusy, busy).retry_after(SOON),
            PosError::Refused(refusal) => refusal.problem(),
            PosError::Idempotency(error) => error.into(),
            PosError::Lock(error) => error.into(),
            PosError::StockLocked(error) | PosError::Db(error) => error.into(),
            PosError::TooManyKeys(error) => Self::invalid("items", error.to_string()),
        }
    }
}

impl From<&CountError> for Problem {
    fn from(error: &CountError) -> Self {
        match error {
            CountError::Refused(problem) => (**problem).clone(),
            CountError::Lease(error) => lost(error),
            CountError::Idempotency(error) => error.into(),
            CountError::Lock(error) => error.into(),
            CountError::Stock(refusal) => refusal.problem(),
            CountError::TooManyKeys(error) => Self::invalid("records", error.to_string()),
            CountError::Db(error) => error.into(),
        }
    }
}

impl From<&IntakeError> for Problem {
    fn from(error: &IntakeError) -> Self {
        match error {
            IntakeError::NotFound => Self::new(Code::InvoiceNotFound, "There is no invoice with this id."),
            IntakeError::Duplicate(verdict) if verdict.r#type == Kind::Concurrent => {
                intake::duplicate(verdict).retry_after(SOON)
            }
            IntakeError::Duplicate(verdict) => intake::duplicate(verdict),
            IntakeError::NameNotLearned => Self::new(
                Code::VendorNameNotLearned,
                "This account has not learned that this name is another vendor's: it stands for itself.",
            ),
            IntakeError::TooFarAhead => Self::invalid("invoice_date", "must be less than a year ahead"),
            IntakeError::InState(state) => intake::in_state(*state),
            IntakeError::Received => Self::new(
                Code::InvoiceReceived,
                "Something of this invoice came in, so it can't be voided. Correct the stock by hand.",
            ),
            IntakeError::NothingToReceive => Self::new(
                Code::NothingToReceive,
                "No line of the invoice names a SKU, so nothing of it can come into stock.",
            ),
            IntakeError::NoSuchLine(line) => {
                Self::invalid(format!("lines[{line}].line_id"), "is not a line of this invoice")
            }
            IntakeError::UnknownSkus(lines) => intake::unknown_skus(lines),
            IntakeError::Excess(line, requested, left) => intake::excess(*line, *requested, *left),
            IntakeError::Stock(refusal) => refusal.problem(),
            IntakeError::Marker(error) => intake::marker_lost(error),
            IntakeError::NotMarkerOwner => (&MarkerError::NotOwner).into(),
            IntakeError::Idempotency(error) => error.into(),
            IntakeError::Lock(error) => error.into(),
            IntakeError::TooManyKeys(error) => Self::invalid("lines", error.to_string()),
            IntakeError::Db(error) => error.into(),
        }
    }
}

impl From<&MarkerError> for Problem {
    fn from(error: &MarkerError) -> Self {
        match error {
            MarkerError::Running(holder) => {
                let detail = holder.as_ref().map_or_else(
                    || "Another program is at this file.".to_owned(),
                    |holder| {
                        let seconds = holder.expires_in.as_secs_f64().ceil();
                        format!("{} is at this file, for {seconds} s unless it beats.", holder.owner)
                    },
                );
                Self::new(Code::AlreadyProcessing, detail).retry_after(SOON)
            }
            MarkerError::NotFound => Self::new(Code::MarkerNotFound, "Nobody is at this file."),
            MarkerError::NotOwner => Self::new(
                Code::NotMarkerOwner,
                "Somebody else is at this file: only they can say how far it is, end it or take the marker away.",
            ),
            MarkerError::Lost(error) => intake::marker_lost(error),
            MarkerError::Idempotency(error) => error.into(),
            MarkerError::Db(error) => error.into(),
        }
    }
}

impl From<&OperationsError> for Problem {
    fn from(error: &OperationsError) -> Self {
        match error {
            OperationsError::NotHeld => Self::new(Code::LockNotHeld, "Nobody holds this lock now."),
            OperationsError::NotALock => Self::invalid(
                "key",
                "must be the whole name of a lock, as GET /locks/status shows it, percent-encoded",
            ),
            OperationsError::LocksUnavailable => Self::new(
                Code::LockServiceUnavailable,
                "Redis can't be asked, so there is nothing to release: locks are database-only now.",
            )
            .retry_after(SOON),
            OperationsError::ReleaseUnknown { owner } => Self::new(
                Code::ReleaseUnknown,
                format!(
                    "Redis gave no answer, so the lock may be gone or not; the record says `unknown`. Look at GET \
                     /locks/status: if owner {owner} still holds it, release it once more, with another \
                     Idempotency-Key if with any."
                ),
            ),
            OperationsError::Idempotency(error) => error.into(),
            OperationsError::Db(error) => error.into(),
        }
    }
}

impl From<&WebhookError> for Problem {
    fn from(error: &WebhookError) -> Self {
        match error {
            WebhookError::NotConfigured => Self::new(Code::NotFound, "This service has no webhook secret."),
            WebhookError::BadSignature => Self::new(
                Code::BadSignature,
                "Sign with a secret of this service, as Standard Webhooks or Stripe do.",
            ),
            WebhookError::Stale => {
                Self::new(Code::StaleWebhook, "The timestamp must be within 5 minutes of now. Sign anew.")
            }
            WebhookError::IdReused => Self::new(
                Code::WebhookIdReused,
                "The first event with this id said something else. Nothing was done.",
            ),
            WebhookError::EntryNotFound => {
                Self::new(Code::InboxEntryNotFound, "There is no entry with this id in the inbox.")
            }
            // It has no key of its own that could be in flight.
            WebhookError::Order(OrderError::Lock(LockError::Busy { key: LockKey::Order(_), .. })) => {
                let detail = "Its order stayed busy. Nothing was done. Deliver it again.";
                Self::new(Code::LockTimeout, detail).retry_after(SOON)
            }
            WebhookError::Order(error) => error.into(),
        }
    }
}

impl From<&EventError> for Problem {
    fn from(error: &EventError) -> Self {
        match error {
            EventError::CursorGone => Self::new(
                Code::CursorGone,
                "Events are kept for 7 days, and those after this one are not all here any more. Read what you follow \
                 anew, and connect without a cursor.",
            ),
            EventError::NotACursor => {
                Self::invalid("last_event_id", "must be the id of an event, as the stream gave it")
            }
            EventError::Hidden(kind) => {
                Self::new(Code::Forbidden, format!("This key may not see {}.", kind.as_str()))
            }
            EventError::TooManyReaders => {
                Self::new(Code::Overloaded, "Too many streams of events are open here.").retry_after(SOON)
            }
            EventError::Db(error) => error.into(),
        }
    }
}

impl From<&EndpointError> for Problem {
    fn from(error: &EndpointError) -> Self {
        match error {
            EndpointError::NotFound => {
                Self::new(Code::EndpointNotFound, "There is no endpoint with this id.")
            }
            EndpointError::NotYet => Self::new(
                Code::Overloaded,
                "A transaction has lasted since this replica started; where the endpoint begins is known when it has ended.",
            )
            .retry_after(Duration::from_secs(1)),
            EndpointError::TooMany => {
                Self::new(Code::TooManyEndpoints, "There are 100 endpoints. Remove one that is not needed.")
            }
            EndpointError::Private => Self::invalid(
                "url",
                "must not be an address of this machine or a private network; HOLDFAST_WEBHOOK_ALLOW_PRIVATE=true allows it",
            ),
            EndpointError::Idempotency(error) => error.into(),
            EndpointError::Db(error) => error.into(),
        }
    }
}

macro_rules! owned_too {
    ($($error:ty),*) => {$(
        impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::from(&error)
            }
        }
    )*};
}
owned_too!(
    DbError,
    LockError,
    IdempotencyError,
    StockError,
    OrderError,
    HoldError,
    EndpointError,
    PosError,
    CountError,
    IntakeError,
    MarkerError,
    OperationsError,
    WebhookError
);
