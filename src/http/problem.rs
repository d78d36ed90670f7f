//! Errors as callers see them: RFC 9457 problem documents, and the one table of codes.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use uuid::Uuid;

/// Every error a caller can be told, by its stable name. The table in `Code::row` is the only place that
/// knows statuses and titles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is documented by its row in the table below and in docs/API.md")]
pub enum Code {
    MalformedJson,
    IdempotencyKeyMissing,
    IdempotencyKeyInvalid,
    Unauthenticated,
    BadSignature,
    StaleWebhook,
    Forbidden,
    NotMarkerOwner,
    NotFound,
    VariantNotFound,
    OrderNotFound,
    InboxEntryNotFound,
    HoldNotFound,
    EndpointNotFound,
    InvoiceNotFound,
    NotRackOwner,
    NotSessionOwner,
    RackNotFound,
    SessionNotFound,
    ConflictNotFound,
    MarkerNotFound,
    LockNotHeld,
    IdempotencyKeyNotFound,
    MethodNotAllowed,
    RequestTimeout,
    SkuTaken,
    InsufficientStock,
    StaleQuantity,
    TotalChanged,
    CancelExceedsOrdered,
    CaptureExceedsHeld,
    HoldCaptured,
    HoldReleased,
    HoldExpired,
    InvoiceBusy,
    StaleInvoice,
    InvoiceSubmitted,
    InvoiceReturned,
    InvoiceNotSubmitted,
    InvoiceFlagged,
    InvoiceVoided,
    InvoiceNotFlagged,
    InvoiceReceived,
    DuplicateInvoice,
    NothingToReceive,
    ReceiveExceedsInvoiced,
    AlreadyProcessing,
    MarkerLost,
    BatchRefused,
    RackExists,
    RackLocked,
    RackPaused,
    RackElsewhere,
    SessionExists,
    SessionPosted,
    NothingToPost,
    ConflictResolved,
    ReleaseUnknown,
    TooManyEndpoints,
    IdempotencyInFlight,
    CursorGone,
    BodyTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
    CurrencyMismatch,
    LimitExceeded,
    IdempotencyKeyReused,
    WebhookIdReused,
    LockTimeout,
    TooManyHolds,
    TooManyBatches,
    Internal,
    DatabaseUnavailable,
    LockServiceUnavailable,
    Overloaded,
}

impl Code {
    /// Status, stable name, title.
    #[expect(clippy::too_many_lines, reason = "one table, a row a code")]
    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::MalformedJson => (400, "malformed_json", "The body is not JSON"),
            Self::IdempotencyKeyMissing => (400, "idempotency_key_missing", "Idempotency-Key is missing"),
            Self::IdempotencyKeyInvalid => (400, "idempotency_key_invalid", "Idempotency-Key can't be used"),
            Self::Unauthenticated => (401, "unauthenticated", "No valid API key was given"),
            Self::BadSignature => (401, "bad_signature", "The webhook is not signed as it must be"),
            Self::StaleWebhook => (401, "stale_webhook", "The webhook is too old, or from the future"),
            Self::Forbidden => (403, "forbidden", "The API key does not allow this"),
            Self::NotMarkerOwner => (403, "not_marker_owner", "Somebody else is at the file"),
            Self::NotFound => (404, "not_found", "There is nothing at this path"),
            Self::VariantNotFound => (404, "variant_not_found", "There is no such variant"),
            Self::OrderNotFound => (404, "order_not_found", "There is no such order"),
            Self::InboxEntryNotFound => (404, "inbox_entry_not_found", "There is no such entry in the inbox"),
            Self::HoldNotFound => (404, "hold_not_found", "There is no such hold"),
            Self::InvoiceNotFound => (404, "invoice_not_found", "There is no such invoice"),
            Self::NotRackOwner => (403, "not_rack_owner", "This session does not hold the rack"),
            Self::NotSessionOwner => (403, "not_session_owner", "The session is another user's"),
            Self::RackNotFound => (404, "rack_not_found", "There is no such rack"),
            Self::SessionNotFound => (404, "session_not_found", "There is no such session"),
            Self::ConflictNotFound => (404, "conflict_not_found", "There is no such conflict"),
            Self::EndpointNotFound => (404, "endpoint_not_found", "There is no such endpoint"),
            Self::MarkerNotFound => (404, "marker_not_found", "Nobody is at the file"),
            Self::LockNotHeld => (404, "lock_not_held", "Nobody holds this lock"),
            Self::IdempotencyKeyNotFound => (404, "idempotency_key_not_found", "This key has not been used"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "This path does not take that method"),
            Self::RequestTimeout => (408, "request_timeout", "The request came too slowly"),
            Self::SkuTaken => (409, "sku_taken", "Another variant has this SKU"),
            Self::InsufficientStock => (409, "insufficient_stock", "There is not enough stock"),
            Self::StaleQuantity => (409, "stale_quantity", "The stock is not what the caller believed"),
            Self::TotalChanged => (409, "total_changed", "The total is not what the caller expected"),
            Self::CancelExceedsOrdered => {
                (409, "cancel_exceeds_ordered", "More would be cancelled than is left")
            }
            Self::CaptureExceedsHeld => (409, "capture_exceeds_held", "More would be captured than is held"),
            Self::HoldCaptured => (409, "hold_captured", "The hold has become an order"),
            Self::HoldReleased => (409, "hold_released", "The hold was given up"),
            Self::HoldExpired => (409, "hold_expired", "The hold's time is over"),
            Self::InvoiceBusy => (409, "invoice_busy", "Another update of this invoice is in progress"),
            Self::StaleInvoice => (409, "stale_invoice", "The invoice was edited meanwhile"),
            Self::InvoiceSubmitted => (409, "invoice_submitted", "The invoice's items are sold"),
            Self::InvoiceReturned => (409, "invoice_returned", "The invoice's items came back"),
            Self::InvoiceNotSubmitted => (409, "invoice_not_submitted", "The invoice's items are not sold"),
            Self::InvoiceFlagged => (409, "invoice_flagged", "The invoice is very much like another"),
            Self::InvoiceVoided => (409, "invoice_voided", "The invoice was voided"),
            Self::InvoiceNotFlagged => (409, "invoice_not_flagged", "The invoice is not flagged"),
            Self::InvoiceReceived => (409, "invoice_received", "Something of the invoice came in"),
            Self::DuplicateInvoice => (409, "duplicate_invoice", "The invoice is in already"),
            Self::NothingToReceive => (409, "nothing_to_receive", "No line of the invoice is of stock"),
            Self::ReceiveExceedsInvoiced => {
                (409, "receive_exceeds_invoiced", "More would come in than was invoiced")
            }
            Self::AlreadyProcessing => (409, "already_processing", "Somebody is at the file"),
            Self::MarkerLost => (409, "marker_lost", "The processing marker is no longer the caller's"),
            Self::BatchRefused => (409, "batch_refused", "Some operations can't be done, so none was"),
            Self::RackExists => (409, "rack_exists", "The rack is registered already"),
            Self::RackLocked => (409, "rack_locked", "Another session counts this rack"),
            Self::RackPaused => (409, "rack_paused", "The rack is paused"),
            Self::RackElsewhere => (409, "rack_elsewhere", "The rack stands on another floor"),
            Self::SessionExists => (409, "session_exists", "The session was opened already"),
            Self::SessionPosted => (409, "session_posted", "The session has been posted"),
            Self::NothingToPost => (409, "nothing_to_post", "The session has no finalized records"),
            Self::ConflictResolved => (409, "conflict_resolved", "The conflict was resolved otherwise"),
            Self::ReleaseUnknown => (409, "release_unknown", "The lock may have been released or not"),
            Self::IdempotencyInFlight => {
                (409, "idempotency_in_flight", "The first request with this key is still running")
            }
            Self::TooManyEndpoints => (409, "too_many_endpoints", "There are too many endpoints"),
            Self::CursorGone => (410, "cursor_gone", "What follows this cursor is not kept"),
            Self::BodyTooLarge => (413, "body_too_large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (415, "unsupported_media_type", "The body must be application/json")
            }
            Self::ValidationFailed => (422, "validation_failed", "The request has invalid fields"),
            Self::CurrencyMismatch => (422, "currency_mismatch", "The prices are in another currency"),
            Self::LimitExceeded => (422, "limit_exceeded", "A quantity would pass its limit"),
            Self::IdempotencyKeyReused => {
                (422, "idempotency_key_reused", "This key was used for another request")
            }
            Self::WebhookIdReused => (422, "webhook_id_reused", "This id was used for another event"),
            Self::LockTimeout => (429, "lock_timeout", "The item stayed busy"),
            Self::TooManyHolds => (429, "too_many_holds", "The user has too many live holds"),
            Self::TooManyBatches => (429, "too_many_batches", "The user has sent too many batches"),
            Self::Internal => (500, "internal", "Something went wrong on our side"),
            Self::DatabaseUnavailable => (503, "database_unavailable", "The database is away"),
            Self::LockServiceUnavailable => (503, "lock_service_unavailable", "Redis is away"),
            Self::Overloaded => (503, "overloaded", "Too much is asked at once"),
        }
    }

    /// The status that goes with it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Whether it is a refusal by the business, which an idempotency key remembers. Bad input, missing
    /// rights, busy locks and faults are not: the same key may be tried again.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        self.row().0 == 409
            && !matches!(
                self,
                Self::IdempotencyInFlight | Self::InvoiceBusy | Self::AlreadyProcessing | Self::MarkerLost
            )
    }
}

/// One thing that is wrong, and with which field.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FieldError {
    /// Path into the request, as in `lines[2].quantity`.
    pub field: String,
    /// What is wrong and what would be right. Never repeats the value.
    pub message: String,
    /// The code of this one, where a batch has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The variant that is short, unknown or stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<Uuid>,
    /// How many were wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<i64>,
    /// How many there are to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
    /// The real value the caller was mistaken about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<serde_json::Value>,
}

impl FieldError {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), ..Self::default() }
    }
}

/// An error on its way to the caller.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Which error.
    pub code: Code,
    /// One sentence about this very case.
    pub detail: String,
    /// What is wrong with which field.
    pub errors: Vec<FieldError>,
    /// What the problem says besides, by its name.
    pub more: serde_json::Map<String, serde_json::Value>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// For the log only: the chain of causes.
    pub cause: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    more: &'a serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem with one sentence about it.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            more: serde_json::Map::new(),
            retry_after: None,
            cause: None,
        }
    }

    /// One invalid field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError::new(field, message);
        let detail = if error.field.is_empty() {
            error.message.clone()
        } else {
            format!("{}: {}", error.field, error.message)
        };
        Self::new(Code::ValidationFailed, detail).with_errors(vec![error])
    }

    /// Adds what is wrong with which field.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds a member of this problem's own.
    #[must_use]
    pub fn with(mut self, name: &str, value: serde_json::Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Keeps the chain of causes for the log.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        let mut chain = error.to_string();
        let mut next = error.source();
        while let Some(source) = next {
            chain.push_str(": ");
            chain.push_str(&source.to_string());
            next = source.source();
        }
        self.cause = Some(chain);
        self
    }

    /// The document's bytes, as sent and as stored for replays.
    #[must_use]
    pub fn render(&self, request_id: &str) -> Vec<u8> {
        let (status, code, title) = self.code.row();
        let document = Document {
            r#type: format!("urn:holdfast:problem:{code}"),
            title,
            status,
            code,
            detail: &self.detail,
            request_id,
            errors: &self.errors,
            more: &self.more,
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The whole response.
    #[must_use]
    pub fn respond(&self, request_id: &str) -> Response<Body> {
        let mut response = Response::new(Body::from(self.render(request_id)));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(pause) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
        }
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Carries the problem out to the shell, which knows the request's id and writes the document.
impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code.status();
        response.extensions_mut().insert(self);
        response
    }
}
