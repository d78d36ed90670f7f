//! Sending one phase: its streams beside each other, each a closed loop, or an open one on a timetable.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hyper::StatusCode;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::figures::{Figures, Sent, Window};
use super::plan::BEFORE;
use super::{
    Events, PartReport, Phase, PhaseReport, Record, Shot, Side, Stop, Stream, StreamReport, Workload,
};
use crate::connection::{Line, Patience};
use crate::measure::{Pacer, Schedule};
use crate::verdict::Tally;

/// After a broken connection, so that a service that is away is not asked without pause.
const PAUSE_AFTER_BREAK: Duration = Duration::from_millis(50);

/// Sends a phase to a side's replicas until its window is over, and waits for all answers.
pub async fn drive(side: &Side, phase: &Phase, warmup: Duration, stop: &Stop) -> anyhow::Result<PhaseReport> {
    let (drive, mut lines) = (side.next_drive(), Vec::new());
    for stream in &phase.streams {
        for worker in 0..stream.connections {
            let mut line = Line::new(&side.targets[worker % side.targets.len()], &side.bearer)?;
            // A replica that is not there shows in the figures of the requests that go to it.
            let _ = line.open().await;
            lines.push(line);
        }
    }
    let window = Window::after(warmup, phase.length, Instant::now());
    let (mut running, mut pacers, mut workers) = (Vec::new(), Vec::new(), JoinSet::new());
    let mut lines = lines.into_iter().enumerate();
    for stream in &phase.streams {
        let stream = Rc::new(Running::new(side, phase, *stream, (window, warmup), stop)?);
        pacers.extend(stream.open.as_ref().map(OpenLoop::start).transpose()?);
        let workload = Workload::new(stream.stream.kind, &side.catalogue);
        for (worker, line) in lines.by_ref().take(stream.stream.connections) {
            workers.spawn_local(Rc::clone(&stream).work(line, workload.of_worker(drive, worker)));
        }
        running.push(stream);
    }
    let events = Events::new(&phase.events);
    let in_time = Events::in_time(Rc::clone(&events), window, Rc::clone(&side.record));
    let in_time = tokio::task::spawn_local(in_time);
    while let Some(worker) = workers.join_next().await {
        worker.context("a connection's worker stopped in the middle")??;
    }
    in_time.abort();
    drop(pacers);
    let trouble = events.borrow_mut().finish(&side.record);
    let streams = running.into_iter().map(|stream| stream.report(side)).collect::<Result<_, _>>()?;
    Ok(PhaseReport { name: phase.name, streams, trouble })
}

/// A stream under way, as its workers share it.
#[derive(Debug)]
struct Running {
    stream: Stream,
    /// What its curve and its line in time are called.
    name: String,
    success: StatusCode,
    began: Instant,
    window: Window,
    open: Option<OpenLoop>,
    stop: Stop,
    /// Of the whole window first, and then of its parts, where events divide it.
    figures: RefCell<Vec<(&'static str, Figures)>>,
    tallies: Rc<RefCell<Vec<Tally>>>,
    record: Rc<RefCell<Record>>,
    line: usize,
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

impl Running {
    fn new(
        side: &Side,
        phase: &Phase,
        stream: Stream,
        (window, warmup): (Window, Duration),
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let name = match phase.name {
            "" => format!("{}{}", side.prefix, stream.who),
            name => format!("{}{}, {name}", side.prefix, stream.who),
        };
        let success = stream.kind.success();
        let mut figures = vec![("", Figures::new(window, success)?)];
        if !phase.events.is_empty() {
            for (name, part) in parts(phase, window) {
                figures.push((name, Figures::new(part, success)?));
            }
        }
        let began = window.from - warmup;
        let schedule = |rate| Schedule::new(began, rate);
        Ok(Self {
            began,
            success,
            window,
            open: stream.rate.map(|rate| OpenLoop::new(schedule(rate), window)),
            stop: stop.clone(),
            figures: figures.into(),
            tallies: Rc::clone(&side.tallies),
            record: Rc::clone(&side.record),
            line: side.record.borrow_mut().line(&name),
            stream,
            name,
        })
    }

    async fn work(self: Rc<Self>, mut line: Line, mut workload: Workload) -> anyhow::Result<()> {
        while let Some(due) = self.next().await {
            let shot = workload.next()?;
            let left = Instant::now();
            let outcome = line.exchange(&shot.call, Patience::USUAL.answer).await;
            // In a closed loop a request is due when its worker is free for it.
            let sent = Sent { due: due.unwrap_or(left), left, ended: Instant::now(), outcome };
            self.take(&shot, &sent)?;
            if sent.outcome.is_err() {
                sleep(PAUSE_AFTER_BREAK).await;
            }
        }
        Ok(())
    }

    fn take(&self, shot: &Shot, sent: &Sent) -> anyhow::Result<()> {
        sent.count_stock(&shot.items, self.success, &mut self.tallies.borrow_mut());
        for (_, figures) in self.figures.borrow_mut().iter_mut() {
            figures.take(sent)?;
        }
        let lock_mode = sent.outcome.as_ref().ok().map(|answer| answer.lock_mode);
        let (_, timeline) = &mut self.record.borrow_mut().timelines[self.line];
        timeline.take(sent.ended, sent.ending(self.success), lock_mode, sent.latency())
    }

    /// Whether to send again, and in an open loop since when that is due.
    async fn next(&self) -> Option<Option<Instant>> {
        if self.stop.at().is_some() {
            return None;
        }
        let next = match &self.open {
            Some(open) => open.next(self.window).await.map(Some),
            None => (Instant::now() < self.window.to).then_some(None),
        };
        next.filter(|_| self.stop.at().is_none())
    }

    /// The figures of a stream that is over.
    fn report(self: Rc<Self>, side: &Side) -> anyhow::Result<StreamReport> {
        let running = Rc::into_inner(self).context("a worker is still there")?;
        let mut all = running.figures.into_inner();
        for (_, figures) in &mut all {
            if let Some(stopped) = running.stop.at() {
                figures.cut(stopped);
            }
            if let Some(open) = &running.open {
                (open.next.get()..open.total).for_each(|slot| figures.never_sent(open.schedule.due(slot)));
            }
        }
        let is_open_loop = running.open.is_some();
        let mut record = side.record.borrow_mut();
        record.timelines[running.line].1.was_busy(running.began, Instant::now())?;
        let mut parts = Vec::new();
        for (part, figures) in &all[1..] {
            record.add(&format!("{}{}, {part}", side.prefix, running.stream.who), figures.latency())?;
            parts.push(PartReport { name: part, window: figures.report(is_open_loop) });
        }
        let whole = &all[0].1;
        if parts.is_empty() {
            record.add(&running.name, whole.latency())?;
        }
        Ok(StreamReport {
            who: running.stream.who,
            kind: running.stream.kind.word(),
            connections: running.stream.connections,
            rate: running.stream.rate.map(|rate| rate.to_string()),
            window: whole.report(is_open_loop),
            parts,
        })
    }
}

/// The parts into which a phase's events divide its window.
fn parts(phase: &Phase, window: Window) -> Vec<(&'static str, Window)> {
    let begins = [(BEFORE, 0.0)].into_iter().chain(phase.events.iter().map(|event| (event.name, event.at)));
    let ends = phase.events.iter().map(|event| event.at).chain([1.0]);
    let part = |((name, from), to)| (name, Window { from: window.at(from), to: window.at(to) });
    begins.zip(ends).map(part).collect()
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
