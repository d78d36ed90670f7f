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
    /// None where nobody knows how many parts there will be.
    total: Option<u64>,
    done: Cell<u64>,
    spoke: Cell<Instant>,
    bar: Option<ProgressBar>,
    finished: Cell<bool>,
}

const BETWEEN_LINES: Duration = Duration::from_secs(5);

impl Progress {
    /// Begins a step of `total` parts.
    pub fn start(label: &'static str, total: usize) -> Self {
        Self::of(label, Some(total as u64))
    }

    /// Begins a step that is over when time says so.
    pub fn without_end(label: &'static str) -> Self {
        Self::of(label, None)
    }

    fn of(label: &'static str, total: Option<u64>) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (ProgressBar::new(total), "{msg} {bar:40} {pos}/{len} {per_sec} {eta}"),
                None => (ProgressBar::new_spinner(), "{msg} {spinner} {pos} {per_sec}"),
            };
            let style = ProgressStyle::with_template(template);
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
        let total = self.total.map(|total| format!(" of {}", grouped(total))).unwrap_or_default();
        remark(&format!("{}: {}{total}", self.label, grouped(self.done.get())));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
