//! The words of events as types.

use std::borrow::Cow;

use serde::Deserialize;
use uuid::Uuid;

use crate::db::DbError;
use crate::ids;
use crate::telemetry::trace;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),* $(,)?) => {
        /// What kind of fact an event tells.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The kind's name in answers and tables.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A level changed: a movement. Never appended: the movement is the event.
    StockChanged = "stock.changed",
    /// A variant that was not low became low, or ran out.
    StockLow = "stock.low",
    /// An order was placed. Never appended: the order is the event.
    OrderPlaced = "order.placed",
    /// An order was cancelled, in part or wholly.
    OrderCancelled = "order.cancelled",
    /// Stock is held.
    HoldCreated = "hold.created",
    /// A hold lasts longer.
    HoldExtended = "hold.extended",
    /// A hold became an order.
    HoldCaptured = "hold.captured",
    /// A hold was given up.
    HoldReleased = "hold.released",
    /// A hold's time was over.
    HoldExpired = "hold.expired",
    /// A rack is known that was not.
    RackRegistered = "rack.registered",
    /// Somebody counts a rack.
    RackClaimed = "rack.claimed",
    /// A rack is free again.
    RackReleased = "rack.released",
    /// The counting of a rack rests.
    RackPaused = "rack.paused",
    /// It goes on.
    RackResumed = "rack.resumed",
    /// A rack is counted.
    RackCompleted = "rack.completed",
    /// A session of counting began.
    SessionStarted = "session.started",
    /// A session changed.
    SessionUpdated = "session.updated",
    /// A session has ended.
    SessionEnded = "session.ended",
    /// What was counted became movements.
    CountPosted = "count.posted",
    /// A supplier's invoice came in.
    InvoiceReceived = "invoice.received",
    /// An invoice looks like another one.
    InvoiceFlagged = "invoice.flagged",
    /// A supplier's invoice was refused, for it is in already.
    InvoiceRefused = "invoice.refused",
    /// Somebody said that an invoice is none that there was before.
    InvoiceOverridden = "invoice.overridden",
    /// The goods of an invoice came in.
    InvoiceGoodsReceived = "invoice.goods_received",
    /// An invoice of the point of sale was written.
    InvoiceUpdated = "invoice.updated",
    /// An invoice of the point of sale sold its items.
    InvoiceSubmitted = "invoice.submitted",
    /// What an invoice of the point of sale had sold came back.
    InvoiceReturned = "invoice.returned",
    /// A supplier's invoice was taken out.
    InvoiceVoided = "invoice.voided",
    /// A vendor's name no longer stands for another.
    InvoiceVendorForgotten = "invoice.vendor_forgotten",
    /// A replica gives its leases in another mode.
    LockModeChanged = "lock.mode_changed",
}

impl EventKind {
    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// What its name begins with, as in `stock`.
    #[must_use]
    pub fn family(self) -> &'static str {
        self.as_str().split_once('.').map_or("", |(family, _)| family)
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About<'a> {
    /// A variant.
    Variant(Uuid),
    /// An order.
    Order(Uuid),
    /// A hold.
    Hold(Uuid),
    /// A rack, by its name.
    Rack(&'a str),
    /// A session of counting.
    Session(Uuid),
    /// A session of counting that has a name and no UUID.
    SessionNamed(&'a str),
    /// A supplier's invoice.
    Invoice(Uuid),
    /// An invoice of the point of sale, by its name.
    InvoiceNamed(&'a str),
    /// Nothing in particular.
    Nothing,
}

impl About<'_> {
    /// What sort of thing it is, and which one.
    #[must_use]
    pub fn parts(self) -> (Option<&'static str>, Option<String>) {
        let (what, which) = match self {
            Self::Variant(id) => ("variant", id.to_string()),
            Self::Order(id) => ("order", id.to_string()),
            Self::Hold(id) => ("hold", id.to_string()),
            Self::Rack(name) => ("rack", name.to_owned()),
            Self::Session(id) => ("session", id.to_string()),
            Self::SessionNamed(name) => ("session", name.to_owned()),
            Self::Invoice(id) => ("invoice", id.to_string()),
            Self::InvoiceNamed(name) => ("invoice", name.to_owned()),
            Self::Nothing => return (None, None),
        };
        (Some(what), Some(which))
    }
}

/// An event about to be appended.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub(super) event_id: Uuid,
    pub(super) kind: EventKind,
    pub(super) about: Option<&'static str>,
    pub(super) about_id: Option<String>,
    pub(super) data: String,
    pub(super) traceparent: Option<String>,
}

impl NewEvent {
    /// An event that tells `data`, which is one JSON object.
    ///
    /// # Errors
    /// [`DbError`] if `data` has no form in JSON.
    pub fn new(kind: EventKind, about: About<'_>, data: &impl serde::Serialize) -> Result<Self, DbError> {
        let (about, about_id) = about.parts();
        let data = serde_json::to_string(data)
            .map_err(|error| DbError::Unexpected(sqlx::Error::Encode(Box::new(error))))?;
        let traceparent = trace::current_request();
        Ok(Self { event_id: ids::fresh(), kind, about, about_id, data, traceparent })
    }

    /// The same, made by a request that shares a section with others.
    #[must_use]
    pub fn made_by(self, traceparent: Option<&str>) -> Self {
        Self { traceparent: traceparent.map(str::to_owned), ..self }
    }
}

/// An event as it is told.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place among all events: the cursor of whoever has read up to here.
    pub position: i64,
    /// Its id, the same however often and by whatever way it is told.
    pub event_id: Uuid,
    /// The name of its kind. A replica of an older version may not know it.
    pub kind: Cow<'static, str>,
    /// What it tells: one JSON object, on one line.
    pub data: String,
    /// What it can be chosen by.
    pub subject: Subject,
    /// What sort of thing it is about, and which one.
    pub about: Option<(String, String)>,
    /// The request that made it, in its trace.
    pub traceparent: Option<String>,
}

/// What an event can be chosen by: read off what it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Subject {
    /// Whose order or hold.
    #[serde(default)]
    pub user_id: Option<String>,
    #[serde(default)]
    variant_id: Option<Uuid>,
    #[serde(default)]
    lines: Vec<OfVariant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct OfVariant {
    #[serde(default)]
    variant_id: Option<Uuid>,
}

impl Subject {
    /// The subject of a movement.
    #[must_use]
    pub fn of_variant(variant_id: Uuid) -> Self {
        Self { variant_id: Some(variant_id), ..Self::default() }
    }

    /// The subject of an order.
    pub fn of_order(user_id: String, variants: impl Iterator<Item = Uuid>) -> Self {
        let lines = variants.map(|id| OfVariant { variant_id: Some(id) }).collect();
        Self { user_id: Some(user_id), variant_id: None, lines }
    }

    /// Read off `data`. Of what has another form nothing is known.
    #[must_use]
    pub fn of(data: &str) -> Self {
        serde_json::from_str(data).unwrap_or_default()
    }

    /// Whether it concerns this variant.
    #[must_use]
    pub fn concerns(&self, variant_id: Uuid) -> bool {
        self.variant_id == Some(variant_id)
            || self.lines.iter().any(|line| line.variant_id == Some(variant_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_no_two_share_one() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::named(kind.as_str()), Some(*kind));
            assert!(!kind.family().is_empty());
        }
        assert_eq!(EventKind::named("stock"), None);
    }

    #[test]
    fn an_event_concerns_the_variants_it_names_and_the_user_whose_it_is() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let data = format!(
            r#"{{"user_id": "ann", "lines": [{{"variant_id": "{a}", "quantity": 1}}], "total": "1"}}"#
        );
        let order = Subject::of(&data);
        assert_eq!(order, Subject::of_order("ann".to_owned(), [a].into_iter()));
        assert!(order.concerns(a) && !order.concerns(b));
        assert!(Subject::of(&format!(r#"{{"variant_id": "{b}"}}"#)).concerns(b));
        assert_eq!(Subject::of("[]"), Subject::default());
    }
}
