//! What is survived: each fault of the failure table in `docs/ARCHITECTURE.md`, for real.

mod changes_of_mode;
mod hang_ups;
mod mixed_modes;
mod postgres_away;
mod postgres_breaks_off;
mod postgres_silent;
mod redis_away;
mod redis_hangs;
mod redis_matrix;
mod redis_refuses;
mod replicas;

use std::time::Duration;

/// A limit for what should take no time: it only tells a hang from an answer.
const SOON: Duration = Duration::from_secs(15);
/// Redis is probed this often, so that no test waits long for its return.
const QUICK_PROBE: (&str, &str) = ("HOLDFAST_BREAKER_PROBE_MS", "50");
