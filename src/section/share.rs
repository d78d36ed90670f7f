//! Which requests share a section, and how one goes: line → slot → lease → one transaction → release → answers.
//!
//! A section is whatever came while the ones before it were busy. The first request never waits for company: if its keys
//! and a slot are free, it goes at once, alone. Whoever finds a section of this process last in line for what it needs
//! joins it, if
//! - the section stands for all its keys, or for some while nobody stands in line for the rest, which the section then
//!   takes up (so it comes to stand behind nobody new, and waits can't make a circle);
//! - or all its keys are free and the section only waits for a slot.
//!
//! What must stay true:
//! - A section is bounded in requests and keys, and its statements by the server's limits. Then its lease passes to the
//!   next in line, here or elsewhere.
//! - A section waits for another replica, or for a row, only if every one of its requests needs what is waited for. Else
//!   those that do leave it, for one of their own, and the rest go on: nobody is held up by a stranger's hot item.
//! - No slot is held while another replica, a row or a commit is waited for.
//! - Each request has its own deadline and may hang up; a section that all have left takes nothing.
//! - Whoever was not answered runs alone, unless its fate is unknown: then it is told so.
//!
//! Who joins, is set apart and waits is searched state by state, with mistakes planted: `tests/model/section.pml`.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::metrics::SectionMetrics;
use super::together::{Failed, Joined, together};
use super::{SHARED_KEYS_MAX, Section, Verb};
use crate::admission::{Gate, TooLong};
use crate::app::App;
use crate::db::DbError;
use crate::holds::capture::Capturing;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::idempotency::Claim;
use crate::inventory::change::StockChange;
use crate::locks::{Ahead, Evidence, LockError, LockKey, LockKeys, Turn};
use crate::orders::cancel::Cancelling;
use crate::orders::place::Placing;

/// The most requests that share one section.
const REQUESTS_MAX: usize = 256;
/// The most keys that one section stands for.
const KEYS_MAX: usize = 512;
/// The most lines that its requests have in all: so many rows and more it writes.
const LINES_MAX: usize = 4_096;
/// A request of more lines goes alone: those who shared with it would wait for its size.
const SHARED_LINES_MAX: usize = 256;
/// How many of a process's cores there are for one section that prepares its commit. A section's work is Postgres's, which
/// needs about as much again as all else; more at a time would each carry less, and cost more a request.
const CORES_A_SECTION: usize = 2;
/// A repetition that has waited so long looks whether its answer is there already.
const LOOK_AFTER: Duration = Duration::from_millis(100);

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
    /// Nothing was done: it is to run alone.
    Alone,
    NoLease(LockError),
    /// The database failed all of them.
    Failed(DbError),
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Alone => "alone",
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
    /// What a request over very many keys goes through before it stands in any line.
    pub large: Gate,
    /// What is counted of them.
    pub metrics: SectionMetrics,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// Those that may be joined, by the number of their place.
    open: HashMap<u64, Open>,
    /// The one of them that only waits for a slot, and has room.
    ready: Option<u64>,
}

/// A section before its lease.
#[derive(Debug)]
struct Open {
    /// Its place in line, until its lease is asked for: so long it may take up keys.
    turn: Option<Turn>,
    keys: LockKeys,
    members: Vec<Member>,
    /// Cancelled when all have left.
    empty: CancellationToken,
    /// What all of its requests need, if they were set apart because of it.
    apart: Option<LockKey>,
}

impl Open {
    fn end_if_empty(&self) {
        if self.members.is_empty() {
            self.empty.cancel();
        }
    }
}

#[derive(Debug)]
struct Member {
    id: u64,
    /// Whether it was set apart once.
    was_apart: bool,
    request: Arc<Request>,
    answer: oneshot::Sender<Outcome>,
}

impl Default for Sections {
    fn default() -> Self {
        let (slots, large) = (Gate::new(at_once()), Gate::new(at_once()));
        Self { state: Mutex::default(), slots, large, metrics: SectionMetrics::default() }
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
pub async fn share<V: Verb>(
    app: &Arc<App>,
    request: Arc<Request>,
    alone: Section<'_>,
    verb: &V,
) -> Result<Answer, V::Error> {
    let caller = &request.caller;
    // Whoever sets the limit of its wait has it kept to the letter, which is easier alone.
    let is_large = request.keys.as_slice().len() > SHARED_KEYS_MAX || request.lines > SHARED_LINES_MAX;
    if is_large || caller.patience.left().is_some() {
        return alone.run(&request.keys, verb).await;
    }
    app.pulse.wanted(&request.keys);
    let (answer, mut answered) = oneshot::channel();
    let id = Sections::enter(app, request.clone(), answer);
    let look_at = request.arrived + LOOK_AFTER;
    let mut looks = request.claim();
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
            () = tokio::time::sleep_until(look_at), if looks.is_some() => {
                let Some(claim) = looks.take() else { continue };
                // What it fails with is told by the section's answer too.
                // One that can't be taken back may have found its own.
                if let Ok(Some(first)) = verb.known_answer(&app.db, claim).await
                    && app.sections.withdraw(app, id)
                {
                    let unlocked = Evidence { mode: app.locks.mode(), wait_ms: 0 };
                    return Ok(first.guarded(unlocked, request.arrived.elapsed()));
                }
            }
        }
    };
    app.sections.metrics.count(outcome.as_ref().map_or("failed", Outcome::name));
    match outcome {
        Ok(Outcome::Answered(answer)) => Ok(answer),
        Ok(Outcome::Alone) => alone.run_since(request.arrived, &request.keys, verb).await,
        Ok(Outcome::NoLease(error)) => alone.answer_if_busy(error).await,
        Ok(Outcome::Failed(error)) => Err(error.into()),
        Err(_) => Err(DbError::Unavailable(sqlx::Error::WorkerCrashed).into()),
    }
}

impl Sections {
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
        let member = Member { id, was_apart: false, request, answer };
        if let Some(member) = state.join(app, member, None) {
            state.begin(app, member, None);
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

    /// When the first of a section's requests has waited too long; none if all have left.
    fn deadline(&self, ticket: u64, wait: Duration) -> Option<Instant> {
        let state = self.state();
        state.open.get(&ticket)?.members.iter().map(|member| member.request.arrived + wait).min()
    }

    /// Tells those who have waited too long.
    fn expire(&self, app: &App, ticket: u64, error: &LockError) {
        let too_long = |member: &Member| member.request.arrived.elapsed() >= app.locks.longest_wait();
        self.turn_away(app, ticket, error, too_long);
    }

    /// Tells some of a section's requests that they wait in vain.
    fn turn_away(&self, app: &App, ticket: u64, error: &LockError, whom: impl Fn(&Member) -> bool) {
        let mut state = self.state();
        let Some(open) = state.open.get_mut(&ticket) else { return };
        for member in open.members.extract_if(.., |member| whom(member)) {
            let mut error = error.clone();
            if let LockError::Busy { waited, .. } = &mut error {
                *waited = member.request.arrived.elapsed();
            }
            app.locks.unseat(ticket, &member.request.keys);
            app.locks.count_refused(member.request.keys.class(), &error);
            // Whoever is gone does not need to know.
            let _gone = member.answer.send(Outcome::NoLease(error));
        }
        open.end_if_empty();
    }

    fn all_need(&self, ticket: u64, key: &LockKey) -> bool {
        let state = self.state();
        let members = state.open.get(&ticket).map(|open| open.members.as_slice()).unwrap_or_default();
        members.iter().all(|member| member.request.keys.contains(key))
    }

    /// From now on the section takes up no more keys.
    fn take_turn(&self, ticket: u64) -> Option<Turn> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.ready.take_if(|ready| *ready == ticket);
        let open = state.open.get_mut(&ticket)?;
        let turn = open.turn.take()?;
        open.keys = turn.keys().clone();
        Some(turn)
    }

    /// Nobody joins it any more.
    fn close(&self, ticket: u64) -> Vec<Member> {
        let mut state = self.state();
        state.ready.take_if(|ready| *ready == ticket);
        state.open.remove(&ticket).map(|open| open.members).unwrap_or_default()
    }

    /// Sets those apart who need `key`, which others hold, and goes on with the rest.
    fn split(app: &Arc<App>, ticket: u64, turn: &mut Turn, key: &LockKey) {
        let mut state = app.sections.state();
        let Some(open) = state.open.get_mut(&ticket) else { return };
        let leaving: Vec<_> =
            open.members.extract_if(.., |member| member.request.keys.contains(key)).collect();
        open.end_if_empty();
        let stay = open.members.iter().flat_map(|member| member.request.keys.as_slice()).cloned();
        // As many keys as there were at most.
        if let Ok(keys) = LockKeys::new(stay.collect()) {
            open.keys = keys.clone();
            turn.shrink(keys);
        }
        for mut member in leaving {
            app.locks.unseat(ticket, &member.request.keys);
            // One that needs several busy items would be sent from one to the other: it takes a place of its own.
            if std::mem::replace(&mut member.was_apart, true) {
                let _gone = member.answer.send(Outcome::Alone);
                continue;
            }
            if let Some(member) = state.join(app, member, Some(key)) {
                state.begin(app, member, Some(key));
            }
        }
    }

    /// A section's life, from its place in line to its answers.
    async fn live(app: Arc<App>, ticket: u64, call: Arc<Notify>, empty: CancellationToken) {
        let sections = &app.sections;
        // Should it panic, those it has not answered are told so, and nobody joins it any more.
        let _closed = Closes { app: &app, ticket };
        let Some((mut turn, mut slot)) = sections.served(&app, ticket, &call, &empty).await else {
            let turn = sections.take_turn(ticket);
            sections.close(ticket);
            turn.into_iter().for_each(Turn::give_up);
            return;
        };
        let Some(taken) = Self::taken(&app, ticket, &mut turn, &mut slot, &empty).await else {
            sections.close(ticket);
            turn.give_up();
            return;
        };
        let members = sections.close(ticket);
        turn.serve();
        // Given up for a wait. If there is none now it goes on without, for others wait for its lease.
        slot = slot.or_else(|| sections.slots.try_pass());
        let turn_keys = turn.keys().as_slice().len();
        let lease = turn.lease(taken);
        let (started, evidence) = (Instant::now(), lease.evidence());
        sections.metrics.begun(members.len(), turn_keys);
        let guard = |member: &Member| {
            let waited = lease.since().saturating_duration_since(member.request.arrived);
            Evidence { wait_ms: u32::try_from(waited.as_millis()).unwrap_or(u32::MAX), ..evidence }
        };
        let guards: Vec<_> = members.iter().map(guard).collect();
        let each = members.iter().zip(&guards);
        let joined: Vec<_> =
            each.map(|(member, lock)| Joined { request: &member.request, lock: *lock }).collect();
        let section = async {
            match together(&app.db, &joined, false, slot).await {
                Err(Failed::WouldWait) => together(&app.db, &joined, true, None).await,
                ended => ended,
            }
        };
        let timed = async { (section.await, started.elapsed()) };
        let (ended, database) = lease.release_after(timed).await;
        sections.metrics.transactions.observe(database.as_secs_f64());
        drop(joined);
        answer(members, &guards, database, ended);
    }

    /// Waits for the place to be served, and for a slot. None if all have left.
    async fn served(
        &self,
        app: &App,
        ticket: u64,
        call: &Notify,
        empty: &CancellationToken,
    ) -> Option<(Turn, Option<OwnedSemaphorePermit>)> {
        let wait = app.locks.longest_wait();
        loop {
            let deadline = self.deadline(ticket, wait)?;
            tokio::select! {
                biased;
                () = call.notified() => break,
                () = empty.cancelled() => return None,
                () = tokio::time::sleep_until(deadline) => {
                    let error = self.state().open.get(&ticket)?.turn.as_ref()?.blocked();
                    self.expire(app, ticket, &error);
                }
            }
        }
        let mut passes = pin!(self.slots.pass(wait));
        let slot = loop {
            if !self.slots.is_open() {
                self.state().is_ready(ticket);
            }
            let deadline = self.deadline(ticket, wait)?;
            tokio::select! {
                biased;
                slot = &mut passes => break slot,
                () = empty.cancelled() => return None,
                () = tokio::time::sleep_until(deadline) => self.expire(app, ticket, &LockError::Overloaded),
            }
        };
        match slot {
            Ok(slot) => Some((self.take_turn(ticket)?, Some(slot))),
            Err(TooLong) => {
                self.turn_away(app, ticket, &LockError::Overloaded, |_| true);
                None
            }
        }
    }

    /// Takes the lease. None if all have left.
    async fn taken(
        app: &Arc<App>,
        ticket: u64,
        turn: &mut Turn,
        slot: &mut Option<OwnedSemaphorePermit>,
        empty: &CancellationToken,
    ) -> Option<crate::locks::TakenOrNot> {
        let sections = &app.sections;
        loop {
            let deadline = sections.deadline(ticket, app.locks.longest_wait())?;
            let mut waits = |key: &LockKey| {
                let may = sections.all_need(ticket, key);
                if may {
                    *slot = None;
                }
                may
            };
            match turn.take(deadline, empty, &mut waits).await {
                Ok(taken) => return Some(taken),
                Err(error) if Instant::now() >= deadline => sections.expire(app, ticket, &error),
                Err(LockError::Busy { key, .. }) => Self::split(app, ticket, turn, &key),
                Err(LockError::CallerGone | LockError::Overloaded) => return None,
            }
        }
    }
}

/// Closes a section when dropped.
struct Closes<'a> {
    app: &'a App,
    ticket: u64,
}

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.app.sections.close(self.ticket);
    }
}

impl State {
    /// From now on the section only waits for a slot. The first that does is joined by all whose keys are free.
    fn is_ready(&mut self, ticket: u64) {
        if self.open.get(&ticket).is_some_and(|open| open.apart.is_none()) {
            self.ready.get_or_insert(ticket);
        }
    }

    /// Joins a section that will take this request. Gives it back if there is none.
    fn join(&mut self, app: &App, member: Member, apart: Option<&LockKey>) -> Option<Member> {
        let keys = &member.request.keys;
        let host = match app.locks.last_in(keys) {
            Ahead::Nobody => self.ready.filter(|_| apart.is_none()),
            Ahead::One(ticket) => Some(ticket),
            Ahead::Several => None,
        };
        let Some((ticket, open)) = host.and_then(|ticket| Some((ticket, self.open.get_mut(&ticket)?))) else {
            return Some(member);
        };
        let is_its_own = match (&open.apart, apart) {
            (Some(theirs), _) => keys.contains(theirs),
            (None, Some(key)) => open.members.iter().all(|member| member.request.keys.contains(key)),
            (None, None) => true,
        };
        // One that all have left is about to give up its place.
        if !is_its_own || open.empty.is_cancelled() {
            return Some(member);
        }
        let lines = |member: &Member| member.request.lines;
        let has_room = open.members.len() < REQUESTS_MAX
            && open.members.iter().chain([&member]).map(lines).sum::<usize>() <= LINES_MAX;
        let stands_for_all = match &mut open.turn {
            _ if !has_room => false,
            Some(turn) if turn.keys().as_slice().len() + keys.as_slice().len() <= KEYS_MAX => {
                turn.extend(keys)
            }
            Some(turn) => keys.as_slice().iter().all(|key| turn.keys().contains(key)),
            None => keys.as_slice().iter().all(|key| open.keys.contains(key)),
        };
        if !stands_for_all || !app.locks.seat(ticket, keys) {
            // Whoever comes next is not to find the same: the next that waits for a slot takes its part.
            self.ready.take_if(|ready| *ready == ticket);
            return Some(member);
        }
        open.members.push(member);
        None
    }

    /// Opens a section for a request.
    fn begin(&mut self, app: &Arc<App>, member: Member, apart: Option<&LockKey>) {
        let keys = member.request.keys.clone();
        let waits_for_a_slot = !app.sections.slots.is_open() && app.locks.last_in(&keys) == Ahead::Nobody;
        let turn = match app.locks.queue_since(keys.clone(), member.request.arrived) {
            Ok(turn) => turn,
            Err(full) => {
                app.locks.count_refused(keys.class(), &full);
                let _gone = member.answer.send(Outcome::NoLease(full));
                return;
            }
        };
        let (ticket, call, empty) = (turn.ticket(), turn.call(), CancellationToken::new());
        let apart = apart.cloned();
        let open = Open { turn: Some(turn), keys, members: vec![member], empty: empty.clone(), apart };
        self.open.insert(ticket, open);
        if waits_for_a_slot {
            self.is_ready(ticket);
        }
        app.tasks.spawn(Sections::live(app.clone(), ticket, call, empty));
    }
}

/// Tells each what became of it. Whoever is gone does not need to know.
fn answer(
    members: Vec<Member>,
    guards: &[Evidence],
    database: Duration,
    ended: Result<Vec<Option<Answer>>, Failed>,
) {
    match ended {
        Ok(answers) => {
            for ((member, lock), answer) in members.into_iter().zip(guards).zip(answers) {
                let answered = |answer: Answer| Outcome::Answered(answer.guarded(*lock, database));
                let _gone = member.answer.send(answer.map_or(Outcome::Alone, answered));
            }
        }
        Err(Failed::ForAll(error)) => {
            for member in members {
                let _gone = member.answer.send(Outcome::Failed(error.repeated()));
            }
        }
        Err(ended) => {
            // A request whose key is in use elsewhere is ordinary: it is told so alone.
            if let Failed::Nothing(error) = ended
                && !matches!(error, DbError::RowLocked(_))
            {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    section.requests = members.len(),
                    error,
                    "a shared section failed; its requests run alone"
                );
            }
            for member in members {
                let _gone = member.answer.send(Outcome::Alone);
            }
        }
    }
}
