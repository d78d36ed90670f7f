//! The words of events as types.

use uuid::Uuid;

use crate::db::DbError;
use crate::ids;

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
        Ok(Self { event_id: ids::fresh(), kind, about, about_id, data })
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
}
