//! Holds: stock that is kept for a user while they pay, at the prices of that moment.
//!
//! Nouns: a **hold** has **lines**, each of one variant. Verbs: [`hold`] begins one; [`capture`] makes an order of it,
//! whole or in part; [`release`] gives it up; [`extend`] makes it last longer; [`expire`] writes down what time has
//! ended already. Reads: [`read`].
//!
//! What must stay true:
//! - What is held is part of `on_hand` and not of `available`. `stock.held` is the sum of the open lines.
//! - A hold ends at its time by the database's clock, whether anybody has written that down or not: every decision
//!   over a level leaves out the lines whose time is over (`inventory::store::lock_levels_in_tx`). So nothing waits
//!   for a sweeper, and one that is late costs nothing.
//! - Every change of a hold is made under the locks of its variants' stock rows, and looks at the clock only once it
//!   has them: a hold that another decision took for over can't be extended or captured any more.
//! - A hold is resolved once: captured, released or expired. Its row is locked before the stock rows.
//! - A hold's own units never stand in its own way.
//! - A hold that came to nothing is forgotten some time after it is over; a captured one is kept, for a late retry of
//!   the capture finds its order by it.

pub mod capture;
pub mod error;
pub mod expire;
pub mod extend;
pub mod hold;
pub mod model;
pub mod read;
pub mod release;
pub mod routes;
pub mod rules;
pub(crate) mod store;

use std::time::Duration;

pub use self::error::HoldError;
pub(crate) use self::store::purge_in_tx;

/// How long a hold is kept that was released or has expired, for whoever asks what became of it.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
