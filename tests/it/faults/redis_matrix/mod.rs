//! Everything that Redis, and the way to it, can do to three replicas while a crowd buys.
//!
//! One fault after another begins in mid-load, lasts until it has shown, and is cured. Whatever it is, no request
//! fails or waits long, all that was acknowledged is one history, the books agree, every replica comes back to two
//! layers by itself, and no lock is left behind. A fault that did not show proves nothing and fails its test.

#[cfg(target_os = "linux")]
mod clock;
mod errors;
mod losses;
mod network;
mod promises;
mod replicas;

use super::SOON;
