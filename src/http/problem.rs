//! Errors as callers see them: RFC 9457 problem documents, and the one table of codes.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use uuid::Uuid;

macro_rules! codes {
    ($($code:ident = $status:literal $name:literal $title:literal,)*) => {
        /// Every error a caller can be told, by its stable name. The table below is the only place that knows statuses
        /// and titles.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each name is documented by its row in the table and in docs/API.md")]
        pub enum Code {
            $($code,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// Status, stable name, title.
            const fn row(self) -> (u16, &'static str, &'static str) {
                match self {
                    $(Self::$code => ($status, $name, $title),)*
                }
            }
        }
    };
}

codes! {
    MalformedJson = 400 "malformed_json" "The body is not JSON",
    IdempotencyKeyMissing = 400 "idempotency_key_missing" "Idempotency-Key is missing",
    IdempotencyKeyInvalid = 400 "idempotency_key_invalid" "Idempotency-Key can't be used",
    Unauthenticated = 401 "unauthenticated" "No valid API key was given",
    BadSignature = 401 "bad_signature" "The webhook is not signed as it must be",
    StaleWebhook = 401 "stale_webhook" "The webhook is too old, or from the future",
    Forbidden = 403 "forbidden" "The API key does not allow this",
    NotMarkerOwner = 403 "not_marker_owner" "Somebody else is at the file",
    NotFound = 404 "not_found" "There is nothing at this path",
    VariantNotFound = 404 "variant_not_found" "There is no such variant",
    OrderNotFound = 404 "order_not_found" "There is no such order",
    InboxEntryNotFound = 404 "inbox_entry_not_found" "There is no such entry in the inbox",
    HoldNotFound = 404 "hold_not_found" "There is no such hold",
    InvoiceNotFound = 404 "invoice_not_found" "There is no such invoice",
    VendorNameNotLearned = 404 "vendor_name_not_learned" "The name stands for no other",
    NotRackOwner = 403 "not_rack_owner" "This session does not hold the rack",
    NotSessionOwner = 403 "not_session_owner" "The session is another user's",
    RackNotFound = 404 "rack_not_found" "There is no such rack",
    SessionNotFound = 404 "session_not_found" "There is no such session",
    ConflictNotFound = 404 "conflict_not_found" "There is no such conflict",
    EndpointNotFound = 404 "endpoint_not_found" "There is no such endpoint",
    MarkerNotFound = 404 "marker_not_found" "Nobody is at the file",
    LockNotHeld = 404 "lock_not_held" "Nobody holds this lock",
    IdempotencyKeyNotFound = 404 "idempotency_key_not_found" "This key has not been used",
    MethodNotAllowed = 405 "method_not_allowed" "This path does not take that method",
    RequestTimeout = 408 "request_timeout" "The request came too slowly",
    SkuTaken = 409 "sku_taken" "Another variant has this SKU",
    InsufficientStock = 409 "insufficient_stock" "There is not enough stock",
    StaleQuantity = 409 "stale_quantity" "The stock is not what the caller believed",
    TotalChanged = 409 "total_changed" "The total is not what the caller expected",
    CancelExceedsOrdered = 409 "cancel_exceeds_ordered" "More would be cancelled than is left",
    CaptureExceedsHeld = 409 "capture_exceeds_held" "More would be captured than is held",
    HoldCaptured = 409 "hold_captured" "The hold has become an order",
    HoldReleased = 409 "hold_released" "The hold was given up",
    HoldExpired = 409 "hold_expired" "The hold's time is over",
    InvoiceBusy = 409 "invoice_busy" "Another update of this invoice is in progress",
    StaleInvoice = 409 "stale_invoice" "The invoice was edited meanwhile",
    InvoiceSubmitted = 409 "invoice_submitted" "The invoice's items are sold",
    InvoiceReturned = 409 "invoice_returned" "The invoice's items came back",
    InvoiceNotSubmitted = 409 "invoice_not_submitted" "The invoice's items are not sold",
    InvoiceFlagged = 409 "invoice_flagged" "The invoice is very much like another",
    InvoiceVoided = 409 "invoice_voided" "The invoice was voided",
    InvoiceNotFlagged = 409 "invoice_not_flagged" "The invoice is not flagged",
    InvoiceReceived = 409 "invoice_received" "Something of the invoice came in",
    DuplicateInvoice = 409 "duplicate_invoice" "The invoice is in already",
    NothingToReceive = 409 "nothing_to_receive" "No line of the invoice is of stock",
    ReceiveExceedsInvoiced = 409 "receive_exceeds_invoiced" "More would come in than was invoiced",
    AlreadyProcessing = 409 "already_processing" "Somebody is at the file",
    MarkerLost = 409 "marker_lost" "The processing marker is no longer the caller's",
    BatchRefused = 409 "batch_refused" "Some operations can't be done, so none was",
    RackExists = 409 "rack_exists" "The rack is registered already",
    RackLocked = 409 "rack_locked" "Another session counts this rack",
    RackPaused = 409 "rack_paused" "The rack is paused",
    RackElsewhere = 409 "rack_elsewhere" "The rack stands on another floor",
    SessionExists = 409 "session_exists" "The session was opened already",
    SessionPosted = 409 "session_posted" "The session has been posted",
    NothingToPost = 409 "nothing_to_post" "The session has no finalized records",
    ConflictResolved = 409 "conflict_resolved" "The conflict was resolved otherwise",
    ReleaseUnknown = 409 "release_unknown" "The lock may have been released or not",
    IdempotencyInFlight = 409 "idempotency_in_flight" "The first request with this key is still running",
    TooManyEndpoints = 409 "too_many_endpoints" "There are too many endpoints",
    CursorGone = 410 "cursor_gone" "What follows this cursor is not kept",
    BodyTooLarge = 413 "body_too_large" "The body is too large",
    UnsupportedMediaType = 415 "unsupported_media_type" "The body is not of the media type that this call takes",
    ValidationFailed = 422 "validation_failed" "The request has invalid fields",
    CurrencyMismatch = 422 "currency_mismatch" "The prices are in another currency",
    LimitExceeded = 422 "limit_exceeded" "A quantity would pass its limit",
    IdempotencyKeyReused = 422 "idempotency_key_reused" "This key was used for another request",
    WebhookIdReused = 422 "webhook_id_reused" "This id was used for another event",
    LockTimeout = 429 "lock_timeout" "The item stayed busy",
    TooManyHolds = 429 "too_many_holds" "The user has too many live holds",
    TooManyBatches = 429 "too_many_batches" "The user has sent too many batches",
    Internal = 500 "internal" "Something went wrong on our side",
    DatabaseUnavailable = 503 "database_unavailable" "The database is away",
    LockServiceUnavailable = 503 "lock_service_unavailable" "Redis is away",
    Overloaded = 503 "overloaded" "Too much is asked at once",
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = Self::ALL.iter().map(|code| code.as_str()).collect();
        json_schema!({"type": "string", "description": "The stable name of an error.", "enum": names})
    }
}

impl Code {
    /// What it means, in a few words.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().2
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
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct FieldError {
    /// Path into the request, as in `lines[2].quantity`.
    pub field: String,
    /// What is wrong and what would be right. Never repeats the value.
    pub message: String,
    /// The code of this one, where a batch has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Code>")]
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

/// An error, as RFC 9457 has it. Some have members of their own besides.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Document<'a> {
    /// `urn:holdfast:problem:` and the code.
    r#type: String,
    /// What the code means.
    title: &'static str,
    /// The answer's status.
    status: u16,
    /// The stable name of the error.
    #[schemars(with = "Code")]
    code: &'static str,
    /// One sentence about this very case.
    detail: &'a str,
    /// The request's id, as in `X-Request-Id`.
    request_id: &'a str,
    /// What is wrong with which field.
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
