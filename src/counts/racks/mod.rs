//! Racks: a registry by floor, and who counts each.
//!
//! Verbs: [`register`], [`import`], [`claim`], [`renew`], [`release`], [`pause`], [`resume`], [`complete`]; reads: [`read`].
//!
//! What must stay true: whether a rack is held, and by which session, is said by its lease alone, and judged by the
//! database's clock. A paused rack keeps its claim for [`PAUSE_MAX`] and no longer. All but the claim are the holder's: a
//! session of the caller's that owns the newest claim.

mod change;
pub mod claim;
pub mod complete;
pub mod import;
pub(super) mod lapse;
pub(super) mod let_go;
pub mod model;
pub mod pause;
pub mod read;
pub mod register;
pub mod release;
pub mod renew;
pub mod resume;
pub(in crate::counts) mod store;
pub(crate) mod take_away;

use std::time::Duration;

/// How long a paused rack keeps its claim.
pub const PAUSE_MAX: Duration = Duration::from_secs(30 * 60);
