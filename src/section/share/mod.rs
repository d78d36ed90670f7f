//! Which requests share a section, and how one goes: line → slot → lease → one transaction → release → answers.
//!
//! A section is whatever came while the ones before it were busy. The first request never waits for company: if its keys
//! and a slot are free, it goes at once, alone. Whoever finds a section of this process last in line for what it needs
//! joins it, if
//! - the section stands for all its keys, or for some while nobody stands in line for the rest, which the section then
//!   takes up;
//! - or all its keys are free and the section only waits for a slot;
//! - or the section waits in line itself, and those who stand in line for the rest came before it and are of earlier rounds.
//!   A section is of the first round if nobody was before it, and else of the one after the latest before it: so a crowd of
//!   strangers takes as many sections as it fills, and not one each. Whoever stands before a section came before it, always,
//!   so waits never make a circle.
//!
//! What must stay true:
//! - A section is bounded in requests and keys, and its statements by the server's limits. Then its lease passes to the
//!   next in line, here or elsewhere.
//! - A section waits for another replica, or for a row, only if every one of its requests needs what is waited for. Else
//!   those that do leave it, for one of their own, and the rest go on. So do those who stand behind a section that waits so, as
//!   often as it looks, and nobody comes to stand behind it for company's sake: nobody is held up by a stranger's hot item, but
//!   for who wants another item of one who waits for both by himself, as behind any order of both.
//! - No slot is held while another replica, a row or a commit is waited for; for a key that is in hand elsewhere, 50 ms. Its
//!   lease is held for as long as it then takes to find out which keys they are, a third of a second at most.
//! - Each request has its own deadline and may hang up; a section that all have left takes nothing.
//! - No more stands before the slots than goes through them in a short time, and in earlier rounds no more than is served within
//!   the wait of who comes: whoever comes then is told so at once.
//! - Whoever was not answered goes on alone, unless its fate is unknown: then it is told so.
//!
//! Who joins, is set apart and waits for a lease is searched state by state, with mistakes planted: `tests/model/section.pml`.

mod joining;
mod life;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use self::joining::{Member, State};
use super::metrics::SectionMetrics;
use super::together::Left;
use super::{SHARED_KEYS_MAX, Section, Verb};
use crate::admission::{Gate, Pace};
use crate::app::App;
use crate::db::DbError;
use crate::holds::capture::Capturing;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::idempotency::Claim;
use crate::inventory::change::StockChange;
use crate::locks::{Arrival, Evidence, LockError, LockKeys};
use crate::orders::cancel::Cancelling;
use crate::orders::place::Placing;

/// A request of more lines goes alone: those who shared with it would wait for its size.
const SHARED_LINES_MAX: usize = 256;
/// How many of a process's cores there are for one section that prepares its commit. A section's work is Postgres's, which
/// needs about as much again as all else; more at a time would each carry less, and cost more a request.
const CORES_A_SECTION: usize = 2;
/// A repetition looks whether its answer is there already when it has waited for this part of the time it has: a half.
/// Before that, a look would be a load more on what is slow, and nearly always for nothing.
const LOOK_AFTER_PART: u32 = 2;
/// How many look at a time, for a crowd that looks would leave no connection to those who are served.
const LOOKS: usize = 2;
/// How long it waits for those who look before it. Whoever does not come to it is told as if it were no repetition, and may ask
/// again.
const LOOK_WITHIN: Duration = Duration::from_millis(200);

/// What a request that may share a section wants.
#[derive(Debug)]
pub enum Work {
    /// One level changed.
    Change(Box<StockChange>),
    /// An order placed.
    Place(Placing),
    /// An order cancelled.
    Cancel(Cancelling),
    /// An order made of a hold.
    Capture(Capturing),
}

/// A request that may share a section.
#[derive(Debug)]
pub struct Request {
    /// What it wants.
    pub(super) work: Work,
    /// Who asks.
    pub(super) caller: Caller,
    keys: LockKeys,
    lines: usize,
    arrived: Instant,
}

impl Request {
    /// A request of so many lines that has just come.
    #[must_use]
    pub fn new(caller: &Caller, keys: LockKeys, lines: usize, work: Work) -> Self {
        Self { work, caller: caller.clone(), keys, lines, arrived: Instant::now() }
    }

    /// Its idempotency claim, if it has a key.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim> {
        match &self.work {
            Work::Change(change) => change.claim.as_ref(),
            Work::Place(placing) => Some(&placing.claim),
            Work::Cancel(cancelling) => cancelling.claim.as_ref(),
            Work::Capture(capturing) => Some(&capturing.claim),
        }
    }

    /// What it locks.
    #[must_use]
    pub fn keys(&self) -> &LockKeys {
        &self.keys
    }
}

/// What became of a request in its section.
#[derive(Debug)]
enum Outcome {
    Answered(Answer),
    /// Nothing was done: it goes on alone.
    Left(Left),
    NoLease(LockError),
    /// The database failed all of them.
    Failed(DbError),
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Left(_) => "alone",
            Self::NoLease(_) => "no_lease",
            Self::Failed(_) => "failed",
        }
    }
}

/// The sections of this process.
#[derive(Debug)]
pub struct Sections {
    state: Mutex<State>,
    slots: Gate,
    /// How fast they serve requests, with their slots.
    pace: Pace,
    /// What a request over very many keys goes through before it stands in any line.
    pub large: Gate,
    /// What those pass who look whether they are repetitions.
    looking: Gate,
    /// What those pass who know that they are, and look whether the first has ended.
    looking_again: Gate,
    /// What is counted of them.
    pub metrics: SectionMetrics,
}

impl Sections {
    /// Before which stands no more work than is done within `queue_max`.
    #[must_use]
    pub fn new(queue_max: Duration) -> Self {
        let slots = Gate::new(at_once()).before_which(queue_max);
        let large = Gate::new(at_once());
        Self {
            state: Mutex::default(),
            slots,
            pace: Pace::default(),
            large,
            looking: Gate::new(LOOKS),
            looking_again: Gate::new(LOOKS),
            metrics: SectionMetrics::default(),
        }
    }
}

/// How many sections of this process prepare their commits at a time.
#[must_use]
pub fn at_once() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / CORES_A_SECTION).max(1)
}

/// Runs a request in a section that it may share; alone if it must.
///
/// # Errors
/// As [`Section::run`].
pub async fn share<V>(
    app: &Arc<App>,
    request: Arc<Request>,
    alone: Section<'_>,
    verb: &V,
) -> Result<Answer, V::Error>
where
    V: Verb<Error: 'static> + Clone + Send + 'static,
{
    let caller = &request.caller;
    // Whoever sets the limit of its wait has it kept to the letter, which is easier alone.
    let is_large = request.keys.as_slice().len() > SHARED_KEYS_MAX || request.lines > SHARED_LINES_MAX;
    if is_large || caller.patience.left().is_some() {
        // Boxed, as below, since few come to it: each request is moved about with room for all that it may come to.
        return Box::pin(alone.run(&request.keys, verb)).await;
    }
    app.pulse.wanted(&request.keys);
    let (answer, mut answered) = oneshot::channel();
    let id = Sections::enter(app, request.clone(), answer);
    let mut known = pin!(known_answer(app, &request, verb));
    let mut looks = true;
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut answered => break outcome,
            () = caller.gone.cancelled() => {
                if app.sections.withdraw(app, id) {
                    let gone = LockError::CallerGone;
                    app.locks.count_refused(request.keys.class(), &gone);
                    return Err(gone.into());
                }
                break answered.await;
            }
            first = &mut known, if looks => {
                looks = false;
                // One that can't be taken back may have found its own.
                if let Some(first) = first && app.sections.withdraw(app, id) {
                    let unlocked = Evidence { mode: app.locks.mode(), wait_ms: 0 };
                    return Ok(first.guarded(unlocked, request.arrived.elapsed()));
                }
            }
        }
    };
    app.sections.metrics.count(outcome.as_ref().map_or("failed", Outcome::name));
    match outcome {
        Ok(Outcome::Answered(answer)) => Ok(answer),
        Ok(Outcome::Left(left)) => Box::pin(alone.run_on(request.arrived, left, &request.keys, verb)).await,
        Ok(Outcome::NoLease(error)) => {
            caller.trace.span_since("lock.wait", || request.arrived).failed();
            Box::pin(alone.answer_if_busy(error)).await
        }
        Ok(Outcome::Failed(error)) => Err(error.into()),
        Err(_) => Err(DbError::Unavailable(sqlx::Error::WorkerCrashed).into()),
    }
}

/// The answer to the request that this one repeats, if it is there when this one has waited for a while. Whoever waits for it
/// no more leaves the look to itself.
async fn known_answer<V>(app: &Arc<App>, request: &Request, verb: &V) -> Option<Answer>
where
    V: Verb<Error: 'static> + Clone + Send + 'static,
{
    let claim = request.claim()?.clone();
    tokio::time::sleep_until(request.arrived + app.locks.longest_wait() / LOOK_AFTER_PART).await;
    let leave = app.sections.may_look().await?;
    let (shared, verb) = (app.clone(), verb.clone());
    let look = async move {
        let looked = shared.db.in_time(verb.known_answer(&shared.db, &claim)).await;
        drop(leave);
        looked
    };
    let look = app.tasks.spawn(look);
    // What it fails with is told by the section's answer too.
    look.await.ok()?.ok()?.ok()?
}

impl Sections {
    /// Waits for leave to look for the answer that a repetition may have.
    pub(super) async fn may_look(&self) -> Option<OwnedSemaphorePermit> {
        self.looking.pass_in_time(LOOK_WITHIN).await.ok()
    }

    /// The same for whoever knows that the first is running.
    pub(super) async fn may_look_again(&self) -> Option<OwnedSemaphorePermit> {
        self.looking_again.pass_in_time(LOOK_WITHIN).await.ok()
    }

    /// Brings those metrics up to date that are looked at and not counted.
    pub fn update_metrics(&self) {
        let all = at_once();
        let busy = all.saturating_sub(self.slots.free());
        self.metrics.slots.set(i64::try_from(all).unwrap_or(i64::MAX));
        self.metrics.slots_busy.set(i64::try_from(busy).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a section or opens one. Gives the number of the request.
    fn enter(app: &Arc<App>, request: Arc<Request>, answer: oneshot::Sender<Outcome>) -> u64 {
        let mut guard = app.sections.state();
        let state = &mut *guard;
        let id = state.next_id;
        state.next_id += 1;
        if state.comes_too_late(app, &request.keys) {
            app.locks.count_refused(request.keys.class(), &LockError::Overloaded);
            let _gone = answer.send(Outcome::NoLease(LockError::Overloaded));
            return id;
        }
        let member = Member { id, was_apart: false, request, answer };
        if let Some(member) = state.join(app, member, None) {
            state.begin(app, member, None, Arrival::New);
        }
        id
    }

    /// Takes a request back that has not been served. False if it has been, or is being.
    fn withdraw(&self, app: &App, id: u64) -> bool {
        let mut state = self.state();
        for (ticket, open) in &mut state.open {
            let Some(place) = open.members.iter().position(|member| member.id == id) else { continue };
            let member = open.members.remove(place);
            app.locks.unseat(*ticket, &member.request.keys);
            open.end_if_empty();
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_look_at_a_time_and_whoever_does_not_come_to_it_goes_without() {
        let (sections, came) = (Sections::new(Duration::from_secs(1)), Instant::now());
        let mut looking = Vec::new();
        for _ in 0..LOOKS {
            looking.push(sections.may_look().await.expect("nobody looks"));
        }
        assert_eq!(came.elapsed(), Duration::ZERO);
        assert!(sections.may_look().await.is_none());
        assert_eq!(came.elapsed(), LOOK_WITHIN);
        drop(looking);
        assert!(sections.may_look().await.is_some());
    }
}
