//! Speaking HTTP to one or more replicas of Holdfast: what is said, over which line, and how often.
//!
//! What must stay true:
//! - a [`Line`] carries one request at a time, so a worker's share of the load is what its line holds;
//! - a [`Caller`] never gives up on a request while its outcome is unknown and patience lasts: it says
//!   the same thing with the same key again, to the next replica, until somebody answers.

mod answer;
mod call;
mod caller;
mod crew;
mod line;
mod target;

pub use answer::{Answer, LockMode};
pub use call::Call;
pub use caller::{Caller, Cause, Patience, Settled};
pub use crew::spread_over;
pub use line::{Broken, Line};
pub use target::{Target, Turn};
