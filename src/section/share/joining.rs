//! Who joins which section, and what is known of those that may be joined.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Outcome, Request, Sections};
use crate::app::App;
use crate::locks::{Ahead, Evidence, LockKey, LockKeys, Turn};

/// The most requests that share one section.
const REQUESTS_MAX: usize = 256;
/// The most keys that one section stands for.
const KEYS_MAX: usize = 512;
/// The most lines that its requests have in all: so many rows and more it writes.
const LINES_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) next_id: u64,
    /// Those that may be joined, by the number of their place.
    pub(super) open: HashMap<u64, Open>,
    /// The one of them that only waits for a slot, and has room.
    pub(super) ready: Option<u64>,
}

/// A section before its lease.
#[derive(Debug)]
pub(super) struct Open {
    /// Its place in line, until its lease is asked for: so long it may take up keys.
    pub(super) turn: Option<Turn>,
    pub(super) keys: LockKeys,
    pub(super) members: Vec<Member>,
    /// Cancelled when all have left.
    pub(super) empty: CancellationToken,
    /// What all of its requests need, if they were set apart because of it.
    pub(super) apart: Option<LockKey>,
}

impl Open {
    pub(super) fn end_if_empty(&self) {
        if self.members.is_empty() {
            self.empty.cancel();
        }
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: u64,
    /// Whether it was set apart once.
    pub(super) was_apart: bool,
    pub(super) request: Arc<Request>,
    pub(super) answer: oneshot::Sender<Outcome>,
}

impl Member {
    /// Tells how it went in its section, which had its lease `since`.
    pub(super) fn tell(
        &self,
        since: Instant,
        (began, took): (Instant, Duration),
        requests: usize,
        lock: Evidence,
        has_failed: bool,
    ) {
        let trace = &self.request.caller.trace;
        let mut waited = trace.span_since("lock.wait", || self.request.arrived);
        waited.note("lock.mode", lock.mode.as_str());
        waited.end_at(since);
        let mut section = trace.span_since("section", || since);
        section.note("section.requests", requests);
        let mut transaction = section.trace().span_since("transaction", || began);
        if has_failed {
            transaction.failed();
            section.failed();
        }
        transaction.end_at(began + took);
    }
}

impl State {
    /// From now on the section only waits for a slot. The first that does is joined by all whose keys are free.
    pub(super) fn is_ready(&mut self, ticket: u64) {
        if self.open.get(&ticket).is_some_and(|open| open.apart.is_none()) {
            self.ready.get_or_insert(ticket);
        }
    }

    /// Joins a section that will take this request. Gives it back if there is none.
    pub(super) fn join(&mut self, app: &App, member: Member, apart: Option<&LockKey>) -> Option<Member> {
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
    pub(super) fn begin(&mut self, app: &Arc<App>, member: Member, apart: Option<&LockKey>) {
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
