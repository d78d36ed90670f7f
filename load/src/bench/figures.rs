//! The figures of one benchmark: what was answered in the measured window, and what all answers add up to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Serialize;

use super::Shot;
use crate::connection::{Answer, Broken, Cause, LockMode};
use crate::measure::{Latency, LatencySummary};
use crate::verdict::Tally;

/// The measured window: from the end of the warm-up to the end.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: Instant,
    pub to: Instant,
}

impl Window {
    /// The window of a benchmark that begins now.
    pub fn after(warmup: Duration, length: Duration, began: Instant) -> Self {
        Self { from: began + warmup, to: began + warmup + length }
    }

    fn holds(&self, time: Instant) -> bool {
        (self.from..self.to).contains(&time)
    }
}

/// What is kept while requests come back.
#[derive(Debug)]
pub struct Figures {
    window: Window,
    success: StatusCode,
    latency: Latency,
    lateness: Latency,
    completed: u64,
    succeeded: u64,
    refusals: BTreeMap<String, u64>,
    broken: BTreeMap<Broken, u64>,
    lock_modes: [u64; LockMode::ALL.len()],
    never_sent: u64,
    tallies: Vec<Tally>,
}

/// What a report says of the window.
#[derive(Clone, Debug, Serialize)]
pub struct WindowReport {
    pub seconds: f64,
    /// Successes answered in the window, by its length.
    pub per_second: f64,
    pub latency: LatencySummary,
    /// How long after their due time requests of an open loop were sent.
    pub sent_late: Option<LatencySummary>,
    /// Due in the window and never sent, because no connection was free in time.
    pub never_sent: u64,
    /// By status and, where there is one, code.
    pub answers: BTreeMap<String, u64>,
    pub broken: BTreeMap<String, u64>,
    pub lock_modes: BTreeMap<&'static str, u64>,
}

impl Figures {
    /// Figures of a window over items with this opening stock.
    pub fn new(window: Window, success: StatusCode, openings: &[i64]) -> anyhow::Result<Self> {
        Ok(Self {
            window,
            success,
            latency: Latency::new()?,
            lateness: Latency::new()?,
            completed: 0,
            succeeded: 0,
            refusals: BTreeMap::new(),
            broken: BTreeMap::new(),
            lock_modes: [0; LockMode::ALL.len()],
            never_sent: 0,
            tallies: openings.iter().map(|opening| Tally::opened_with(*opening)).collect(),
        })
    }

    /// Takes in how one request ended: `due` is when its latency begins, `sent` when it left.
    pub fn take(&mut self, shot: &Shot, due: Instant, sent: Instant, outcome: &Result<Answer, Broken>) {
        let now = Instant::now();
        self.count_stock(shot, outcome);
        let succeeded = outcome.as_ref().is_ok_and(|answer| answer.status == self.success);
        self.completed += u64::from(succeeded && self.window.holds(now));
        if !self.window.holds(due) {
            return;
        }
        self.lateness.record(sent.saturating_duration_since(due));
        // What broke waited too: leaving it out would make a stall look short.
        self.latency.record(now.saturating_duration_since(due));
        match outcome {
            Err(broken) => *self.broken.entry(*broken).or_default() += 1,
            Ok(answer) => {
                self.succeeded += u64::from(succeeded);
                if !succeeded {
                    *self.refusals.entry(answer.phrase()).or_default() += 1;
                }
                if let Some(place) = LockMode::ALL.iter().position(|mode| *mode == answer.lock_mode) {
                    self.lock_modes[place] += 1;
                }
            }
        }
    }

    /// A request was due in the window and could not be sent before its end.
    pub fn never_sent(&mut self, due: Instant) {
        if self.window.holds(due) {
            self.never_sent += 1;
            self.latency.record(self.window.to.saturating_duration_since(due));
        }
    }

    fn count_stock(&mut self, shot: &Shot, outcome: &Result<Answer, Broken>) {
        let taken = match outcome {
            Ok(answer) if answer.status == self.success => Some(true),
            // A failure leaves open whether anything was written; a refusal wrote nothing.
            Ok(answer) if answer.status.is_server_error() && !answer.is_not_now() => None,
            Ok(_) | Err(Broken::NotConnected) => Some(false),
            Err(Broken::Lost | Broken::TimedOut) => None,
        };
        for item in shot.items() {
            match taken {
                Some(true) => self.tallies[*item].answer(-1),
                Some(false) => {}
                None => self.tallies[*item].doubt(-1),
            }
        }
    }

    /// What all answers add up to, item by item.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// The window's figures; an open loop also tells how late it sent.
    pub fn report(&self, is_open_loop: bool) -> WindowReport {
        let seconds = (self.window.to - self.window.from).as_secs_f64();
        let mut answers = self.refusals.clone();
        answers.insert(self.success.as_u16().to_string(), self.succeeded);
        let modes = LockMode::ALL.iter().zip(self.lock_modes).filter(|(_, count)| *count > 0);
        WindowReport {
            seconds,
            per_second: self.completed as f64 / seconds,
            latency: self.latency.summary(),
            sent_late: is_open_loop.then(|| self.lateness.summary()),
            never_sent: self.never_sent,
            answers,
            broken: self
                .broken
                .iter()
                .map(|(broken, count)| (Cause::Broken(*broken).phrase(), *count))
                .collect(),
            lock_modes: modes.map(|(mode, count)| (mode.word(), count)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Bytes;
    use hyper::header::HeaderMap;
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::*;
    use crate::bench::{Kind, Workload};
    use crate::verdict::{Opening, ShelfItem};

    const SECOND: Duration = Duration::from_secs(1);

    /// Figures of a window that began `ago` and is ten seconds long, and a request for one unit.
    fn begun(ago: Duration) -> anyhow::Result<(Figures, Shot, Instant)> {
        let shelf =
            ShelfItem { variant_id: Uuid::nil(), sku: "r-0".into(), price: Decimal::ONE, on_hand: 10 };
        let shot = Workload::new(Kind::Hot, "r", &Opening::new(vec![shelf]))?.next()?;
        let from = Instant::now() - ago;
        let window = Window { from, to: from + 10 * SECOND };
        Ok((Figures::new(window, StatusCode::OK, &[10])?, shot, from))
    }

    fn answer(status: u16, body: &'static str) -> anyhow::Result<Result<Answer, Broken>> {
        let body = Bytes::from_static(body.as_bytes());
        Ok(Ok(Answer::new(StatusCode::from_u16(status)?, &HeaderMap::new(), body)))
    }

    #[test]
    fn latency_begins_when_a_request_was_due() -> anyhow::Result<()> {
        let (mut figures, shot, from) = begun(5 * SECOND)?;
        figures.take(&shot, from + SECOND, from + 3 * SECOND, &answer(200, "{}")?);
        let report = figures.report(true);
        assert!(report.latency.max_ms >= 3_990.0, "{}", report.latency.max_ms);
        let late = report.sent_late.map(|late| late.max_ms).unwrap_or_default();
        assert!((1_990.0..2_010.0).contains(&late), "{late}");
        Ok(())
    }

    #[test]
    fn an_answer_after_the_window_has_a_latency_but_no_part_in_the_rate() -> anyhow::Result<()> {
        let (mut figures, shot, from) = begun(12 * SECOND)?;
        figures.take(&shot, from + 9 * SECOND, from + 9 * SECOND, &answer(200, "{}")?);
        let report = figures.report(false);
        assert_eq!((report.latency.count, report.answers["200"]), (1, 1));
        assert!(report.per_second.abs() < f64::EPSILON);
        Ok(())
    }

    #[test]
    fn the_warm_up_counts_for_the_stock_alone() -> anyhow::Result<()> {
        let (mut figures, shot, from) = begun(Duration::ZERO)?;
        figures.take(&shot, from - SECOND, from - SECOND, &answer(200, "{}")?);
        figures.never_sent(from - SECOND);
        assert_eq!(figures.tallies()[0].expected(), 9);
        let report = figures.report(true);
        assert_eq!((report.latency.count, report.never_sent), (0, 0));
        Ok(())
    }

    #[test]
    fn what_was_due_and_never_sent_counts_until_the_end() -> anyhow::Result<()> {
        let (mut figures, _, from) = begun(Duration::ZERO)?;
        figures.never_sent(from + 4 * SECOND);
        let report = figures.report(true);
        assert_eq!(report.never_sent, 1);
        assert!((5_990.0..6_010.0).contains(&report.latency.max_ms), "{}", report.latency.max_ms);
        Ok(())
    }

    #[test]
    fn only_what_may_have_been_written_is_in_doubt() -> anyhow::Result<()> {
        let outcomes = [
            (answer(200, "{}")?, 9, 0),
            (answer(409, r#"{"code":"insufficient_stock"}"#)?, 10, 0),
            (answer(429, r#"{"code":"lock_timeout"}"#)?, 10, 0),
            (answer(503, r#"{"code":"overloaded"}"#)?, 10, 0),
            (answer(503, r#"{"code":"database_unavailable"}"#)?, 10, 1),
            (Err(Broken::NotConnected), 10, 0),
            (Err(Broken::Lost), 10, 1),
            (Err(Broken::TimedOut), 10, 1),
        ];
        for (outcome, expected, doubted) in outcomes {
            let (mut figures, shot, from) = begun(SECOND)?;
            figures.take(&shot, from, from, &outcome);
            let tally = figures.tallies()[0];
            assert_eq!((tally.expected(), tally.doubted_out), (expected, doubted), "{outcome:?}");
        }
        Ok(())
    }
}
