//! The figures of one stream: what was answered in the measured window, and what one answer means for the stock.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Serialize;

use crate::connection::{Answer, Broken, Cause, LockMode};
use crate::measure::{Ending, Latency, LatencySummary};
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

    /// The moment at a share of its length.
    pub fn at(&self, share: f64) -> Instant {
        self.from + (self.to - self.from).mul_f64(share)
    }

    fn holds(&self, time: Instant) -> bool {
        (self.from..self.to).contains(&time)
    }
}

/// What is kept of one stream in one window, while requests come back.
#[derive(Debug)]
pub struct Figures {
    window: Window,
    success: StatusCode,
    latency: Latency,
    lateness: Latency,
    /// Of successes, from when they were sent.
    answering: Latency,
    completed: u64,
    succeeded: u64,
    /// Of other answers, by phrase, from when they were sent.
    refusals: BTreeMap<String, Latency>,
    broken: BTreeMap<Broken, u64>,
    lock_modes: [u64; LockMode::ALL.len()],
    never_sent: u64,
}

/// How one request went.
#[derive(Debug)]
pub struct Sent {
    /// When its latency begins.
    pub due: Instant,
    /// When it left.
    pub left: Instant,
    pub ended: Instant,
    pub outcome: Result<Answer, Broken>,
}

/// What a report says of the window.
#[derive(Clone, Debug, Serialize)]
pub struct WindowReport {
    pub seconds: f64,
    /// Successes answered in the window, by its length.
    pub per_second: f64,
    /// Other answers to what was due in the window, by its length.
    pub refused_per_second: f64,
    pub latency: LatencySummary,
    /// How long successes took from when they were sent, whenever they were due.
    pub answering: LatencySummary,
    /// How long after their due time requests of an open loop were sent.
    pub sent_late: Option<LatencySummary>,
    /// Due in the window and never sent, because no connection was free in time.
    pub never_sent: u64,
    /// By status and, where there is one, code.
    pub answers: BTreeMap<String, u64>,
    /// How long answers that were no successes took from when their requests were sent.
    pub refusals: BTreeMap<String, LatencySummary>,
    pub broken: BTreeMap<String, u64>,
    pub lock_modes: BTreeMap<&'static str, u64>,
}

impl Figures {
    /// Figures of a window, with the status of success.
    pub fn new(window: Window, success: StatusCode) -> anyhow::Result<Self> {
        Ok(Self {
            window,
            success,
            latency: Latency::new()?,
            lateness: Latency::new()?,
            answering: Latency::new()?,
            completed: 0,
            succeeded: 0,
            refusals: BTreeMap::new(),
            broken: BTreeMap::new(),
            lock_modes: [0; LockMode::ALL.len()],
            never_sent: 0,
        })
    }

    /// Takes in how one request ended.
    pub fn take(&mut self, sent: &Sent) -> anyhow::Result<()> {
        let succeeded = sent.succeeded(self.success);
        self.completed += u64::from(succeeded && self.window.holds(sent.ended));
        if !self.window.holds(sent.due) {
            return Ok(());
        }
        let answering = sent.ended.saturating_duration_since(sent.left);
        self.lateness.record(sent.left.saturating_duration_since(sent.due));
        // What broke waited too: leaving it out would make a stall look short.
        self.latency.record(sent.latency());
        match &sent.outcome {
            Err(broken) => *self.broken.entry(*broken).or_default() += 1,
            Ok(answer) => {
                if succeeded {
                    self.succeeded += 1;
                    self.answering.record(answering);
                } else {
                    let kept = match self.refusals.entry(answer.phrase()) {
                        Entry::Occupied(kept) => kept.into_mut(),
                        Entry::Vacant(place) => place.insert(Latency::new()?),
                    };
                    kept.record(answering);
                }
                if let Some(place) = LockMode::ALL.iter().position(|mode| *mode == answer.lock_mode) {
                    self.lock_modes[place] += 1;
                }
            }
        }
        Ok(())
    }

    /// A request was due in the window and could not be sent before its end.
    pub fn never_sent(&mut self, due: Instant) {
        if self.window.holds(due) {
            self.never_sent += 1;
            self.latency.record(self.window.to.saturating_duration_since(due));
        }
    }

    /// The run was stopped at this moment, so the window ended then.
    pub fn cut(&mut self, at: Instant) {
        self.window.to = self.window.to.min(at.max(self.window.from));
    }

    /// The latencies of the window.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// The window's figures; an open loop also tells how late it sent.
    pub fn report(&self, is_open_loop: bool) -> WindowReport {
        let seconds = (self.window.to - self.window.from).as_secs_f64();
        // A window that was cut to nothing has no rates.
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let refusals: BTreeMap<_, _> =
            self.refusals.iter().map(|(phrase, latency)| (phrase.clone(), latency.summary())).collect();
        let mut answers: BTreeMap<_, _> =
            refusals.iter().map(|(phrase, latency)| (phrase.clone(), latency.count)).collect();
        let refused = answers.values().sum();
        answers.insert(self.success.as_u16().to_string(), self.succeeded);
        let modes = LockMode::ALL.iter().zip(self.lock_modes).filter(|(_, count)| *count > 0);
        let broken = self.broken.iter().map(|(broken, count)| (Cause::Broken(*broken).phrase(), *count));
        WindowReport {
            seconds,
            per_second: per_second(self.completed),
            refused_per_second: per_second(refused),
            latency: self.latency.summary(),
            answering: self.answering.summary(),
            sent_late: is_open_loop.then(|| self.lateness.summary()),
            never_sent: self.never_sent,
            answers,
            refusals,
            broken: broken.collect(),
            lock_modes: modes.map(|(mode, count)| (mode.word(), count)).collect(),
        }
    }
}

impl Sent {
    /// Whether it was answered with success.
    pub fn succeeded(&self, success: StatusCode) -> bool {
        self.outcome.as_ref().is_ok_and(|answer| answer.status == success)
    }

    /// How long it took since it was due.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_duration_since(self.due)
    }

    /// How it ended, for a timeline.
    pub fn ending(&self, success: StatusCode) -> Ending {
        match &self.outcome {
            Err(_) => Ending::Broken,
            Ok(answer) if answer.status == success => Ending::Done,
            Ok(_) => Ending::Refused,
        }
    }

    /// Counts what it took, or may have taken, of each item.
    pub fn count_stock(&self, items: &[usize], success: StatusCode, tallies: &mut [Tally]) {
        let taken = match &self.outcome {
            Ok(answer) if answer.status == success => Some(true),
            // A failure leaves open whether anything was written; a refusal wrote nothing.
            Ok(answer) if answer.status.is_server_error() && !answer.is_not_now() => None,
            Ok(_) | Err(Broken::NotConnected) => Some(false),
            Err(Broken::Lost | Broken::TimedOut) => None,
        };
        for item in items {
            match taken {
                Some(true) => tallies[*item].answer(-1),
                Some(false) => {}
                None => tallies[*item].doubt(-1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Bytes;
    use hyper::header::HeaderMap;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Figures of a window that is ten seconds long, and when it begins.
    fn begun() -> anyhow::Result<(Figures, Instant)> {
        let from = Instant::now();
        Ok((Figures::new(Window { from, to: from + 10 * SECOND }, StatusCode::OK)?, from))
    }

    fn answer(status: u16, body: &'static str) -> anyhow::Result<Result<Answer, Broken>> {
        let body = Bytes::from_static(body.as_bytes());
        Ok(Ok(Answer::new(StatusCode::from_u16(status)?, &HeaderMap::new(), body)))
    }

    fn close(measured: f64, expected: f64) -> bool {
        (measured - expected).abs() <= expected * 0.002
    }

    #[test]
    fn latency_begins_when_a_request_was_due() -> anyhow::Result<()> {
        let (mut figures, from) = begun()?;
        let outcome = answer(200, "{}")?;
        let (due, left, ended) = (from + SECOND, from + 3 * SECOND, from + 5 * SECOND);
        figures.take(&Sent { due, left, ended, outcome })?;
        let report = figures.report(true);
        assert!(
            close(report.latency.max_ms, 4_000.0) && close(report.answering.max_ms, 2_000.0),
            "{report:?}"
        );
        assert!(report.sent_late.is_some_and(|late| close(late.max_ms, 2_000.0)));
        Ok(())
    }

    #[test]
    fn an_answer_after_the_window_has_a_latency_but_no_part_in_the_rate() -> anyhow::Result<()> {
        let (mut figures, from) = begun()?;
        let (due, ended) = (from + 9 * SECOND, from + 11 * SECOND);
        figures.take(&Sent { due, left: due, ended, outcome: answer(200, "{}")? })?;
        let report = figures.report(false);
        assert_eq!((report.latency.count, report.answers["200"]), (1, 1));
        assert!(report.per_second.abs() < f64::EPSILON);
        Ok(())
    }

    #[test]
    fn the_warm_up_is_no_part_of_the_window() -> anyhow::Result<()> {
        let (mut figures, from) = begun()?;
        let due = from - SECOND;
        figures.take(&Sent { due, left: due, ended: due, outcome: answer(200, "{}")? })?;
        figures.never_sent(due);
        let report = figures.report(true);
        assert_eq!((report.latency.count, report.never_sent), (0, 0));
        Ok(())
    }

    #[test]
    fn what_was_due_and_never_sent_counts_until_the_end() -> anyhow::Result<()> {
        let (mut figures, from) = begun()?;
        figures.never_sent(from + 4 * SECOND);
        let report = figures.report(true);
        assert_eq!(report.never_sent, 1);
        assert!(close(report.latency.max_ms, 6_000.0), "{}", report.latency.max_ms);
        Ok(())
    }

    #[test]
    fn refusals_are_told_by_their_code_and_with_their_own_latency() -> anyhow::Result<()> {
        let (mut figures, from) = begun()?;
        for (millis, outcome) in [
            (3_000, answer(200, "{}")?),
            (20, answer(503, r#"{"code":"overloaded"}"#)?),
            (40, answer(503, r#"{"code":"overloaded"}"#)?),
            (5, answer(429, r#"{"code":"lock_timeout"}"#)?),
        ] {
            figures.take(&Sent {
                due: from,
                left: from,
                ended: from + Duration::from_millis(millis),
                outcome,
            })?;
        }
        let report = figures.report(false);
        assert_eq!(report.answers["503 overloaded"], 2);
        assert!(close(report.refused_per_second, 0.3) && close(report.per_second, 0.1), "{report:?}");
        assert!(close(report.refusals["503 overloaded"].max_ms, 40.0));
        assert!(close(report.refusals["429 lock_timeout"].max_ms, 5.0));
        assert!(close(report.answering.max_ms, 3_000.0));
        Ok(())
    }

    #[test]
    fn a_run_that_was_stopped_has_the_rate_of_what_there_was_of_it() -> anyhow::Result<()> {
        let (mut figures, from) = begun()?;
        for _ in 0..20 {
            figures.take(&Sent { due: from, left: from, ended: from, outcome: answer(200, "{}")? })?;
        }
        figures.cut(from + 2 * SECOND);
        assert!(close(figures.report(false).per_second, 10.0));
        figures.cut(from - SECOND);
        assert!(figures.report(false).per_second.abs() < f64::EPSILON);
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
            let (now, mut tallies) = (Instant::now(), [Tally::opened_with(10)]);
            let sent = Sent { due: now, left: now, ended: now, outcome };
            sent.count_stock(&[0], StatusCode::OK, &mut tallies);
            assert_eq!((tallies[0].expected(), tallies[0].doubted_out), (expected, doubted), "{sent:?}");
        }
        Ok(())
    }
}
