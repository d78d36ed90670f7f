//! Lets requests go when they are due, from a thread of its own: an async timer is only good to a
//! millisecond, which is several times the latency that is to be measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Schedule;

/// A running timetable; dropping it stops it.
#[derive(Debug)]
pub struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// At high rates several requests are let go at once: waking more often would cost the cores more than
/// it gives in evenness.
const SHORTEST_PAUSE: Duration = Duration::from_micros(100);

impl Pacer {
    /// Calls `release` with the number of requests that have become due, again and again, until all
    /// `total` are.
    pub fn start(
        schedule: Schedule,
        total: u64,
        mut release: impl FnMut(u64) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            let mut released = 0;
            while released < total && !stopped.load(Ordering::Relaxed) {
                let due = schedule.due_by(Instant::now()).min(total);
                if due > released {
                    release(due - released);
                    released = due;
                }
                let pause = schedule.due(released).saturating_duration_since(Instant::now());
                park_timeout(pause.max(SHORTEST_PAUSE));
            }
        };
        let thread = Builder::new().name("pacer".into()).spawn(work).context("cannot start the pacer")?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A pacer that panicked has nothing left to release.
            let _ = thread.join();
        }
    }
}
