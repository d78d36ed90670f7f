//! Sections that several requests share: one commit, and to each its own answer.

use std::time::Duration;

mod cancels_and_captures;
mod large;
mod round_trips;
mod set_apart;
mod shared;
mod waits;

/// Enough for whatever is waited for, on a busy machine.
const SOON: Duration = Duration::from_secs(15);
