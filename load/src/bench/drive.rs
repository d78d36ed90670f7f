//! Sending for a while: a closed loop, or an open one on a timetable.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::figures::Window;
use super::{Figures, Settings, Workload};
use crate::connection::{Line, Patience};
use crate::measure::{Pacer, Schedule};
use crate::verdict::Opening;

/// After a broken connection, so that a service that is away is not asked without pause.
const PAUSE_AFTER_BREAK: Duration = Duration::from_millis(50);

/// Sends the workload through every connection until the window is over, and waits for all answers.
pub async fn drive(settings: &Settings, workload: &Workload, opening: &Opening) -> anyhow::Result<Figures> {
    let mut lines = Vec::with_capacity(settings.connections);
    for worker in 0..settings.connections {
        let target = &settings.targets[worker % settings.targets.len()];
        let mut line = Line::new(target, &settings.bearer)?;
        line.open().await.map_err(|_| anyhow::anyhow!("cannot connect to {}", target.authority))?;
        lines.push(line);
    }
    let began = Instant::now();
    let window = Window::after(settings.warmup, settings.length, began);
    let openings: Vec<i64> = opening.items().iter().map(|item| item.on_hand).collect();
    let figures = Figures::new(window, settings.kind.success(), &openings)?;
    let open = settings.rate.map(|rate| OpenLoop::new(Schedule::new(began, rate), window));
    let pacer = open.as_ref().map(OpenLoop::start).transpose()?;
    let bench = Rc::new(Bench { window, open, figures: figures.into() });

    let mut workers = JoinSet::new();
    for (worker, line) in lines.into_iter().enumerate() {
        workers.spawn_local(Rc::clone(&bench).work(line, workload.of_worker(worker)));
    }
    while let Some(worker) = workers.join_next().await {
        worker.context("a connection's worker stopped in the middle")??;
    }
    drop(pacer);
    let bench = Rc::into_inner(bench).context("a worker is still there")?;
    let mut figures = bench.figures.into_inner();
    if let Some(open) = bench.open {
        (open.next.get()..open.total).for_each(|slot| figures.never_sent(open.schedule.due(slot)));
    }
    Ok(figures)
}

/// What the workers of a benchmark share.
#[derive(Debug)]
struct Bench {
    window: Window,
    open: Option<OpenLoop>,
    figures: RefCell<Figures>,
}

/// The timetable of an open loop: requests whose time has come, and which of them goes next.
#[derive(Debug)]
struct OpenLoop {
    schedule: Schedule,
    total: u64,
    come: Arc<Semaphore>,
    next: Cell<u64>,
}

impl OpenLoop {
    fn new(schedule: Schedule, window: Window) -> Self {
        // What is due at the very end belongs to no window.
        let total = schedule.due_by(window.to - Duration::from_nanos(1));
        Self { schedule, total, come: Arc::new(Semaphore::new(0)), next: Cell::new(0) }
    }

    fn start(&self) -> anyhow::Result<Pacer> {
        let come = Arc::clone(&self.come);
        Pacer::start(self.schedule, self.total, move |due| {
            come.add_permits(usize::try_from(due).unwrap_or(usize::MAX));
        })
    }

    /// Waits for the next request that is due and returns its due time; none after the end.
    ///
    /// What the warm-up left undone is dropped when the window begins: else a service that is asked for
    /// more than it can do would spend the whole window on requests that are no part of it.
    async fn next(&self, window: Window) -> Option<Instant> {
        let end = tokio::time::Instant::from_std(window.to);
        loop {
            let permit = timeout_at(end, self.come.acquire()).await.ok()?.ok()?;
            let now = Instant::now();
            if now >= window.to {
                return None;
            }
            permit.forget();
            let due = self.schedule.due(self.next.replace(self.next.get() + 1));
            if due >= window.from || now < window.from {
                return Some(due);
            }
        }
    }
}

impl Bench {
    async fn work(self: Rc<Self>, mut line: Line, mut workload: Workload) -> anyhow::Result<()> {
        while let Some(due) = self.next().await {
            let shot = workload.next()?;
            let sent = Instant::now();
            // In a closed loop a request is due when its worker is free for it.
            let due = due.unwrap_or(sent);
            let outcome = line.exchange(&shot.call, Patience::USUAL.answer).await;
            self.figures.borrow_mut().take(&shot, due, sent, &outcome);
            if outcome.is_err() {
                sleep(PAUSE_AFTER_BREAK).await;
            }
        }
        Ok(())
    }

    /// Whether to send again, and in an open loop since when that is due.
    async fn next(&self) -> Option<Option<Instant>> {
        match &self.open {
            Some(open) => open.next(self.window).await.map(Some),
            None => (Instant::now() < self.window.to).then_some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Fifty requests a second that began to come a second before `window`; 51 of them have.
    fn begun(window: Window) -> anyhow::Result<OpenLoop> {
        let open = OpenLoop::new(Schedule::new(window.from - SECOND, "50".parse()?), window);
        open.come.add_permits(51);
        Ok(open)
    }

    #[tokio::test]
    async fn what_the_warm_up_left_undone_is_dropped() -> anyhow::Result<()> {
        let now = Instant::now();
        let window = Window { from: now, to: now + 3_600 * SECOND };
        let open = begun(window)?;
        assert_eq!(open.next(window).await, Some(window.from));
        assert_eq!((open.next.get(), open.come.available_permits()), (51, 0));
        Ok(())
    }

    #[tokio::test]
    async fn nothing_goes_after_the_end() -> anyhow::Result<()> {
        let now = Instant::now();
        let window = Window { from: now - 2 * SECOND, to: now - SECOND };
        let open = begun(window)?;
        assert_eq!(open.total, 100);
        assert_eq!(open.next(window).await, None);
        assert_eq!(open.next.get(), 0);
        Ok(())
    }
}
