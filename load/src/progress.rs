//! How far a long step is: a bar on a terminal, a plain line every few seconds elsewhere.

use std::cell::Cell;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::{grouped, remark};

/// The progress of one step.
#[derive(Debug)]
pub struct Progress {
    label: &'static str,
    total: u64,
    done: Cell<u64>,
    spoke: Cell<Instant>,
    bar: Option<ProgressBar>,
    finished: Cell<bool>,
}

const BETWEEN_LINES: Duration = Duration::from_secs(5);

impl Progress {
    /// Begins a step of `total` parts.
    pub fn start(label: &'static str, total: usize) -> Self {
        let total = total as u64;
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {per_sec} {eta}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.set_message(label);
            bar
        });
        let (done, spoke, finished) = (Cell::new(0), Cell::new(Instant::now()), Cell::new(false));
        Self { label, total, done, spoke, bar, finished }
    }

    /// One more part is done.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
        if let Some(bar) = &self.bar {
            bar.inc(1);
        } else if self.spoke.get().elapsed() >= BETWEEN_LINES {
            self.spoke.set(Instant::now());
            self.line();
        }
    }

    /// The step is over; saying so again changes nothing.
    pub fn finish(&self) {
        if self.finished.replace(true) {
            return;
        }
        match &self.bar {
            Some(bar) => bar.finish(),
            None => self.line(),
        }
    }

    fn line(&self) {
        remark(&format!("{}: {} of {}", self.label, grouped(self.done.get()), grouped(self.total)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
