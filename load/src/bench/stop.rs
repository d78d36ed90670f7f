//! Ctrl-C: the sending ends, and what there is so far is reported and judged all the same.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::remark;

/// Whether, and since when, the run is to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Rc<Cell<Option<Instant>>>);

impl Stop {
    /// When it was asked for.
    pub fn at(&self) -> Option<Instant> {
        self.0.get()
    }

    /// Waits for the first Ctrl-C, which ends the sending, and for the second, with which this is over.
    pub async fn told_twice(self) -> anyhow::Result<()> {
        let mut signals = signal(SignalKind::interrupt()).context("cannot listen to Ctrl-C")?;
        signals.recv().await;
        self.0.set(Some(Instant::now()));
        remark("nothing more is sent; the verdict follows. Ctrl-C again goes without it");
        signals.recv().await;
        Ok(())
    }
}
