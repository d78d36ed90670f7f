//! Insisting: a request whose outcome is unknown is said again until somebody answers it.
//!
//! What must stay true: every try carries the same key and the same bytes, so however many of them
//! arrive, the service does the work once. Only an answer that settles the matter ends the insisting;
//! a refusal to try now (429, in flight) and a broken try (5xx, no connection, no answer) never do.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::{Instant, sleep};

use super::{Answer, Broken, Call, Line, Target};

/// Why a request was said again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The exchange broke.
    Broken(Broken),
    /// The service failed: whether it wrote is unknown.
    Failed(String),
    /// The service said that it wrote nothing and to come back.
    NotNow(String),
}

impl Cause {
    /// Whether the try may have been carried out although no answer said so.
    pub fn leaves_doubt(&self) -> bool {
        !matches!(self, Self::NotNow(_) | Self::Broken(Broken::NotConnected))
    }

    /// The cause as it stands in reports.
    pub fn phrase(&self) -> String {
        match self {
            Self::Broken(Broken::NotConnected) => "not connected".into(),
            Self::Broken(Broken::Lost) => "connection lost".into(),
            Self::Broken(Broken::TimedOut) => "no answer in time".into(),
            Self::Failed(phrase) | Self::NotNow(phrase) => phrase.clone(),
        }
    }
}

/// How long to wait for one answer, and for the whole matter.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one try.
    pub answer: Duration,
    /// From the first try to giving up.
    pub whole: Duration,
}

impl Patience {
    /// For everything that carries stock. A lock may be waited for some seconds, so one try must outlast
    /// that; a replica that is killed and started again must be back before the whole time is over.
    pub const USUAL: Self = Self { answer: Duration::from_secs(20), whole: Duration::from_secs(60) };
    /// For a recomputation of the whole ledger.
    pub const AUDIT: Self = Self { answer: Duration::from_secs(900), whole: Duration::from_secs(1_200) };
}

const _: () = assert!(Patience::USUAL.answer.as_secs() < Patience::USUAL.whole.as_secs());
const _: () = assert!(Patience::AUDIT.answer.as_secs() < Patience::AUDIT.whole.as_secs());

const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// How a request ended.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The answer that settled it; none if patience ran out first.
    pub answer: Option<Answer>,
    /// Why it was said again, try by try.
    pub causes: Vec<Cause>,
}

impl Settled {
    /// Whether some try before the answer may have been carried out.
    pub fn had_doubt(&self) -> bool {
        self.causes.iter().any(Cause::leaves_doubt)
    }

    /// The answer, or an error that says why there is none.
    pub fn into_answer(self, call: &Call) -> anyhow::Result<Answer> {
        let last = self.causes.last().map_or_else(|| "unknown".into(), Cause::phrase);
        self.answer.ok_or_else(|| anyhow::anyhow!("{}: no answer; the last try: {last}", call.title()))
    }
}

/// One worker's lines, one to each target.
#[derive(Debug)]
pub struct Caller {
    lines: Vec<Line>,
    patience: Patience,
}

impl Caller {
    /// A caller that can reach every target; nothing is opened yet.
    pub fn new(targets: &[Target], bearer: &str) -> anyhow::Result<Self> {
        let lines = targets.iter().map(|target| Line::new(target, bearer)).collect::<Result<_, _>>()?;
        Ok(Self { lines, patience: Patience::USUAL })
    }

    /// As many callers as a crew has members.
    pub fn crew(targets: &[Target], bearer: &str, members: usize) -> anyhow::Result<Vec<Self>> {
        (0..members).map(|_| Self::new(targets, bearer)).collect()
    }

    /// The same caller with another patience.
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Says `call` to the target at `position` (modulo their number), then to the next, and the next,
    /// until it is settled or patience runs out.
    pub async fn insist(&mut self, call: &Call, position: usize) -> Settled {
        let give_up = Instant::now() + self.patience.whole;
        let count = self.lines.len();
        let mut causes = Vec::new();
        loop {
            let line = &mut self.lines[position.wrapping_add(causes.len()) % count];
            let limit = self.patience.answer.min(give_up.saturating_duration_since(Instant::now()));
            let (cause, asked) = match line.exchange(call, limit).await {
                Err(broken) => (Cause::Broken(broken), None),
                Ok(answer) => match unsettled(&answer) {
                    None => {
                        return Settled { answer: Some(answer), causes };
                    }
                    Some(cause) => (cause, answer.retry_after),
                },
            };
            let pause = asked.unwrap_or_else(|| backoff(causes.len(), count));
            causes.push(cause);
            if Instant::now() + pause >= give_up {
                return Settled { answer: None, causes };
            }
            sleep(pause).await;
        }
    }

    /// Reads `path` and hands back a 200, or says what else came.
    pub async fn read(&mut self, path: &str, position: usize) -> anyhow::Result<Answer> {
        let call = Call::get(path)?;
        let answer = self.insist(&call, position).await.into_answer(&call)?;
        anyhow::ensure!(
            answer.status == StatusCode::OK,
            "{} answered {}: {}",
            call.title(),
            answer.phrase(),
            answer.excerpt()
        );
        Ok(answer)
    }
}

/// Why an answer leaves the matter open, if it does.
fn unsettled(answer: &Answer) -> Option<Cause> {
    if answer.is_not_now() {
        return Some(Cause::NotNow(answer.phrase()));
    }
    answer.status.is_server_error().then(|| Cause::Failed(answer.phrase()))
}

/// How long to wait before try number `tries + 2`: doubling with each round over the targets, so that
/// while one replica is down the next is asked after the shortest pause.
fn backoff(tries: usize, targets: usize) -> Duration {
    let rounds = u32::try_from((tries / targets.max(1)).min(16)).unwrap_or(16);
    FIRST_BACKOFF.saturating_mul(1 << rounds).min(LONGEST_BACKOFF)
}

#[cfg(test)]
#[path = "caller_tests.rs"]
mod tests;
