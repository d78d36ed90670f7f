//! All pairs of acts, and how each may end.

/// What may happen to an order or a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// An order is placed.
    Place,
    /// What the other one sends is sent once more, with the same key: by a caller who was not answered, or by a sender
    /// who delivers again.
    Again,
    /// The hold becomes an order.
    Capture,
    /// The order is cancelled by a call.
    Cancel,
    /// An order is cancelled by an event of its own: the one that is placed or captured at the same time, or one that is
    /// there.
    Webhook,
    /// An operator replays an event that was refused, and cancels one unit of the order.
    Replay,
    /// The hold's time is over, and that is written down.
    Expire,
    Release,
    Extend,
    /// A hold of one unit takes the hold's place.
    Replace,
}
use Act::{Again, Cancel, Capture, Expire, Extend, Place, Release, Replace, Replay, Webhook};

impl Act {
    pub const ALL: [Self; 10] =
        [Place, Again, Capture, Cancel, Webhook, Replay, Expire, Release, Extend, Replace];
}

/// What both are answered, and what of the variant is then on hand and held.
pub type Ending = ([&'static str; 2], [i64; 2]);

/// Two acts, and their right endings: those that one after the other could have had.
#[derive(Debug)]
pub struct Race {
    pub acts: [Act; 2],
    pub endings: &'static [Ending],
}

impl Race {
    /// Whether either of the two may be the one that is answered first.
    pub fn is_of_equals(&self) -> bool {
        self.acts[0] == self.acts[1] || self.acts.contains(&Again)
    }
}

const fn race(first: Act, second: Act, endings: &'static [Ending]) -> Race {
    Race { acts: [first, second], endings }
}

const SHORT: &str = "insufficient_stock";

/// There are 2 units for a race's order and 2 for its hold, where it has them, and none beside. If it has neither, 2
/// units are there to be placed. Somebody else who places an order beside an order or a hold wants 1.
pub const PAIRS: &[Race] = &[
    // Two who want the last ones.
    race(Place, Place, &[(["placed", SHORT], [0, 0])]),
    race(Place, Again, &[(["placed", "replayed"], [0, 0])]),
    race(Place, Capture, &[([SHORT, "placed"], [0, 0])]),
    race(Place, Cancel, &[(["placed", "done"], [1, 0]), ([SHORT, "done"], [2, 0])]),
    race(Place, Webhook, &[(["placed", "cancelled"], [2, 0]), (["born", "waiting_for_order"], [2, 0])]),
    race(Place, Replay, &[(["placed", "cancelled"], [0, 0]), ([SHORT, "cancelled"], [1, 0])]),
    race(Place, Expire, &[(["placed", "over"], [1, 0]), ([SHORT, "over"], [2, 0])]),
    race(Place, Release, &[(["placed", "done"], [1, 0]), ([SHORT, "done"], [2, 0])]),
    race(Place, Extend, &[([SHORT, "done"], [2, 2])]),
    race(Place, Replace, &[(["placed", "placed"], [1, 1]), ([SHORT, "placed"], [2, 1])]),
    // An order that was placed before, and both ask for it again.
    race(Again, Again, &[(["replayed", "replayed"], [0, 0])]),
    race(Again, Capture, &[(["placed", "replayed"], [0, 0])]),
    race(Again, Cancel, &[(["done", "replayed"], [2, 0])]),
    race(Again, Webhook, &[(["cancelled", "duplicate"], [2, 0])]),
    race(Again, Replay, &[(["cancelled", "duplicate"], [1, 0])]),
    // The hold's own key: it is told as it began, and no second one is made.
    race(Again, Expire, &[(["replayed", "over"], [2, 0])]),
    race(Again, Release, &[(["done", "replayed"], [2, 0])]),
    race(Again, Extend, &[(["done", "replayed"], [2, 2])]),
    race(Again, Replace, &[(["placed", "replayed"], [2, 1])]),
    race(Capture, Capture, &[(["placed", "hold_captured"], [0, 0])]),
    race(Capture, Cancel, &[(["placed", "done"], [2, 0])]),
    race(Capture, Webhook, &[(["placed", "cancelled"], [2, 0]), (["born", "waiting_for_order"], [2, 0])]),
    race(Capture, Replay, &[(["placed", "cancelled"], [1, 0])]),
    race(Capture, Expire, &[(["placed", "over"], [0, 0]), (["hold_expired", "over"], [2, 0])]),
    race(Capture, Release, &[(["placed", "hold_captured"], [0, 0]), (["hold_released", "done"], [2, 0])]),
    race(Capture, Extend, &[(["placed", "hold_captured"], [0, 0]), (["placed", "done"], [0, 0])]),
    race(Capture, Replace, &[(["placed", "hold_captured"], [0, 0]), (["hold_released", "placed"], [2, 1])]),
    race(Cancel, Cancel, &[(["done", "done"], [2, 0])]),
    race(Cancel, Webhook, &[(["done", "cancelled"], [2, 0]), (["done", "already_cancelled"], [2, 0])]),
    race(Cancel, Replay, &[(["done", "cancelled"], [2, 0]), (["done", "cancel_exceeds_ordered"], [2, 0])]),
    race(Cancel, Expire, &[(["done", "over"], [4, 0])]),
    race(Cancel, Release, &[(["done", "done"], [4, 0])]),
    race(Cancel, Extend, &[(["done", "done"], [4, 2])]),
    race(Cancel, Replace, &[(["done", "placed"], [4, 1])]),
    race(Webhook, Webhook, &[(["cancelled", "already_cancelled"], [2, 0])]),
    race(
        Webhook,
        Replay,
        &[(["cancelled", "cancelled"], [2, 0]), (["cancelled", "cancel_exceeds_ordered"], [2, 0])],
    ),
    race(Webhook, Expire, &[(["cancelled", "over"], [4, 0])]),
    race(Webhook, Release, &[(["cancelled", "done"], [4, 0])]),
    race(Webhook, Extend, &[(["cancelled", "done"], [4, 2])]),
    race(Webhook, Replace, &[(["cancelled", "placed"], [4, 1])]),
    race(Replay, Replay, &[(["cancelled", "duplicate"], [1, 0])]),
    race(Replay, Expire, &[(["cancelled", "over"], [3, 0])]),
    race(Replay, Release, &[(["cancelled", "done"], [3, 0])]),
    race(Replay, Extend, &[(["cancelled", "done"], [3, 2])]),
    race(Replay, Replace, &[(["cancelled", "placed"], [3, 1])]),
    race(Expire, Expire, &[(["over", "over"], [2, 0])]),
    race(Expire, Release, &[(["over", "done"], [2, 0]), (["over", "hold_expired"], [2, 0])]),
    race(Expire, Extend, &[(["over", "done"], [2, 0]), (["over", "hold_expired"], [2, 0])]),
    race(Expire, Replace, &[(["over", "placed"], [2, 1]), (["over", "hold_expired"], [2, 0])]),
    race(Release, Release, &[(["done", "hold_released"], [2, 0])]),
    race(Release, Extend, &[(["done", "done"], [2, 0]), (["done", "hold_released"], [2, 0])]),
    race(Release, Replace, &[(["done", "hold_released"], [2, 0]), (["hold_released", "placed"], [2, 1])]),
    race(Extend, Extend, &[(["done", "done"], [2, 2])]),
    race(Extend, Replace, &[(["done", "placed"], [2, 1]), (["hold_released", "placed"], [2, 1])]),
    race(Replace, Replace, &[(["placed", "hold_released"], [2, 1])]),
];
