//! The locking core against a real Redis.

mod all_or_nothing;
mod arrival_order;
mod evidence;
mod hung_up;
mod owner;
mod row_order;
mod strangers;
mod wake_up;

use std::time::Duration;

/// A limit for what should take no time: it only tells a hang from an answer.
const SOON: Duration = Duration::from_secs(15);
