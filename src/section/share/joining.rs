//! Who joins which section, and what is known of those that may be joined.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Outcome, Request, Sections};
use crate::app::App;
use crate::locks::{Arrival, Evidence, LockKey, LockKeys, Turn};
use crate::section::together::Left;

/// The most requests that share one section.
const REQUESTS_MAX: usize = 256;
/// The most keys that one section stands for.
const KEYS_MAX: usize = 512;
/// The most lines that its requests have in all: so many rows and more it writes.
const LINES_MAX: usize = 4_096;
/// How much earlier than its wait ends whoever comes is to be served, as far as can be told: for what the pace does not tell of.
const SPARE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) next_id: u64,
    /// Those that may be joined, by the number of their place.
    pub(super) open: HashMap<u64, Open>,
    /// The one of them that only waits for a slot, and has room.
    pub(super) ready: Option<u64>,
    /// The rounds in which sections are served, until they end: the first for whom nobody was before in their lines, and else
    /// one more than the latest of those before it. None for one that is set apart or waits for a stranger, nor for whoever
    /// stands behind somebody who has none.
    rounds: HashMap<u64, u64>,
    /// The last section of a later round, by its round: it takes up what earlier rounds are to be done with first.
    gathering: HashMap<u64, u64>,
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
    pub(super) fn all_need(&self, key: &LockKey) -> bool {
        all_need(&self.members, key)
    }

    /// Those who need one of `keys` leave, and it leaves the lines that only they stood in. Its turn is `taken` if it does
    /// not have it any more.
    pub(super) fn part_with(
        &mut self,
        app: &App,
        ticket: u64,
        taken: Option<&mut Turn>,
        keys: &[LockKey],
    ) -> Vec<Member> {
        let leaving: Vec<_> = self.members.extract_if(.., |member| member.needs(keys).is_some()).collect();
        self.end_if_empty();
        for member in &leaving {
            app.locks.unseat(ticket, &member.request.keys);
        }
        let stay = self.members.iter().flat_map(|member| member.request.keys.as_slice()).cloned();
        // As many keys as there were at most. One that all have left gives up its place with the keys that it has.
        if let Ok(keys) = LockKeys::new(stay.collect())
            && !self.members.is_empty()
        {
            self.keys = keys.clone();
            if let Some(turn) = taken.or(self.turn.as_mut()) {
                turn.shrink(keys);
            }
        }
        leaving
    }

    pub(super) fn end_if_empty(&self) {
        if self.members.is_empty() {
            self.empty.cancel();
        }
    }
}

pub(super) fn all_need(members: &[Member], key: &LockKey) -> bool {
    members.iter().all(|member| member.request.keys.contains(key))
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
    /// The first of `keys` that it needs.
    fn needs<'a>(&self, keys: &'a [LockKey]) -> Option<&'a LockKey> {
        keys.iter().find(|key| self.request.keys.contains(key))
    }

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

    /// It takes up no more keys that others stand in line for, or none at all.
    pub(super) fn settle(&mut self, ticket: u64) {
        self.ready.take_if(|ready| *ready == ticket);
        if let Some(round) = self.rounds.get(&ticket)
            && self.gathering.get(round) == Some(&ticket)
        {
            self.gathering.remove(round);
        }
    }

    /// From now on nobody comes to stand behind it for company's sake.
    pub(super) fn leave_round(&mut self, ticket: u64) {
        self.settle(ticket);
        self.rounds.remove(&ticket);
    }

    /// Whether those of earlier rounds will be served too late for who needs `keys`.
    pub(super) fn comes_too_late(&self, app: &App, keys: &LockKeys) -> bool {
        let ahead = app.locks.last_in(keys);
        let Some(latest) = self.latest(&ahead).filter(|_| !ahead.is_empty()) else { return false };
        // Of the latest round itself, what may still be joined is no wait.
        let is_before = |ticket: &u64, open: &Open| {
            let round = self.rounds.get(ticket);
            round.is_some_and(|round| {
                *round < latest || *round == latest && open.members.len() >= REQUESTS_MAX
            })
        };
        let before = self.open.iter().filter(|(ticket, open)| is_before(ticket, open));
        let requests = before.map(|(_, open)| open.members.len()).sum();
        let wait = app.locks.longest_wait();
        app.sections.pace.is_too_slow(requests, wait.saturating_sub(SPARE).max(wait / 2))
    }

    /// Joins a section that will take this request. Gives it back if there is none.
    pub(super) fn join(&mut self, app: &App, member: Member, apart: Option<&LockKey>) -> Option<Member> {
        let keys = &member.request.keys;
        let mut hosts = self.hosts(keys, &app.locks.last_in(keys), apart).into_iter().flatten();
        hosts.try_fold(member, |member, host| self.join_one(app, member, host, apart))
    }

    /// Where a request that finds these `ahead` may be taken: by the last that it would stand behind, or by the one that
    /// gathers what comes after that.
    fn hosts(&self, keys: &LockKeys, ahead: &[u64], apart: Option<&LockKey>) -> [Option<u64>; 2] {
        let the_only = |which: &dyn Fn(&u64) -> bool| {
            let mut those = ahead.iter().copied().filter(which);
            those.next().filter(|_| those.next().is_none())
        };
        let Some(latest) = self.latest(ahead).filter(|_| apart.is_none()) else {
            let is_for_it = |ticket: &u64| {
                self.open
                    .get(ticket)
                    .and_then(|open| open.apart.as_ref())
                    .is_some_and(|key| keys.contains(key))
            };
            return [the_only(&|_| true).or(the_only(&is_for_it)), None];
        };
        if ahead.is_empty() {
            return [self.ready, None];
        }
        let is_latest = |ticket: &u64| self.rounds.get(ticket) == Some(&latest);
        [the_only(&is_latest), self.gathering.get(&(latest + 1)).copied()]
    }

    /// The latest of these sections' rounds; none if one of them has none.
    fn latest(&self, ahead: &[u64]) -> Option<u64> {
        ahead.iter().try_fold(0, |latest, ticket| Some(self.rounds.get(ticket)?.max(&latest)).copied())
    }

    fn join_one(
        &mut self,
        app: &App,
        member: Member,
        ticket: u64,
        apart: Option<&LockKey>,
    ) -> Option<Member> {
        let Self { open, rounds, .. } = self;
        let Some(open) = open.get_mut(&ticket) else { return Some(member) };
        let keys = &member.request.keys;
        let is_its_own = match (&open.apart, apart) {
            (Some(theirs), _) => keys.contains(theirs),
            (None, Some(key)) => open.all_need(key),
            (None, None) => true,
        };
        // One that all have left is about to give up its place.
        if !is_its_own || open.empty.is_cancelled() {
            return Some(member);
        }
        let lines = |member: &Member| member.request.lines;
        let has_room = open.members.len() < REQUESTS_MAX
            && open.members.iter().chain([&member]).map(lines).sum::<usize>() <= LINES_MAX;
        let ours = rounds.get(&ticket);
        let is_earlier = |last| rounds.get(&last).is_some_and(|theirs| ours.is_none_or(|ours| theirs < ours));
        let stands_for_all = match &mut open.turn {
            _ if !has_room => false,
            Some(turn) if turn.keys().as_slice().len() + keys.as_slice().len() <= KEYS_MAX => {
                turn.extend(keys, is_earlier)
            }
            Some(turn) => keys.as_slice().iter().all(|key| turn.keys().contains(key)),
            None => keys.as_slice().iter().all(|key| open.keys.contains(key)),
        };
        if !stands_for_all || !app.locks.seat(ticket, keys) {
            // Whoever comes next is not to find the same: the next that waits for a slot takes its part.
            self.settle(ticket);
            return Some(member);
        }
        open.members.push(member);
        None
    }

    /// The section waits for strangers who hold `keys`, of all those `of_it`. Nobody comes to stand behind it any more for
    /// company's sake, nor behind those who stand behind it. Whoever stands there for `keys` and needs none of them himself is
    /// held up no longer.
    pub(super) fn let_others_pass(
        &mut self,
        app: &Arc<App>,
        ticket: u64,
        of_it: &LockKeys,
        keys: &[LockKey],
    ) {
        if self.rounds.contains_key(&ticket) {
            self.leave_round(ticket);
            let mut those = app.locks.behind(ticket, of_it.as_slice());
            while let Some(behind) = those.pop() {
                if self.rounds.contains_key(&behind) {
                    self.leave_round(behind);
                    let turn = self.open.get(&behind).and_then(|open| open.turn.as_ref());
                    those.extend(
                        turn.into_iter().flat_map(|turn| app.locks.behind(behind, turn.keys().as_slice())),
                    );
                }
            }
        }
        let mut leaving = Vec::new();
        for behind in app.locks.behind(ticket, keys) {
            let Some(open) = self.open.get_mut(&behind).filter(|open| open.turn.is_some()) else { continue };
            if open.members.iter().any(|member| member.needs(keys).is_none()) {
                leaving.extend(open.part_with(app, behind, None, keys));
            } else if open.apart.is_none() {
                // It stays so.
                open.apart = keys.iter().find(|key| open.all_need(key)).cloned();
            }
        }
        self.set_apart(app, leaving, keys);
    }

    /// Those who left a section because of `keys`, which others hold, go on for themselves.
    pub(super) fn set_apart(&mut self, app: &Arc<App>, mut leaving: Vec<Member>, keys: &[LockKey]) {
        leaving.sort_unstable_by_key(|member| member.id);
        for mut member in leaving {
            let key = member.needs(keys);
            // One that needs several busy items would be sent from one to the other: it takes a place of its own.
            if std::mem::replace(&mut member.was_apart, true) {
                let _gone = member.answer.send(Outcome::Left(Left::Alone));
                continue;
            }
            if let Some(member) = self.join(app, member, key) {
                self.begin(app, member, key, Arrival::Admitted);
            }
        }
    }

    /// Opens a section for a request.
    pub(super) fn begin(
        &mut self,
        app: &Arc<App>,
        member: Member,
        apart: Option<&LockKey>,
        arrival: Arrival,
    ) {
        let keys = member.request.keys.clone();
        let turn = match app.locks.queue_since(member.request.arrived, arrival, keys.clone()) {
            Ok(turn) => turn,
            Err(full) => {
                app.locks.count_refused(keys.class(), &full);
                let _gone = member.answer.send(Outcome::NoLease(full));
                return;
            }
        };
        let (ticket, call, empty) = (turn.ticket(), turn.call(), CancellationToken::new());
        let ahead = turn.ahead();
        let waits_for_a_slot = !app.sections.slots.is_open() && ahead.is_empty();
        let round = if ahead.is_empty() { Some(0) } else { self.latest(ahead).map(|latest| latest + 1) };
        if let Some(round) = round.filter(|_| apart.is_none()) {
            self.rounds.insert(ticket, round);
            if round > 0 {
                self.gathering.insert(round, ticket);
            }
        }
        let apart = apart.cloned();
        let open = Open { turn: Some(turn), keys, members: vec![member], empty: empty.clone(), apart };
        self.open.insert(ticket, open);
        if waits_for_a_slot {
            self.is_ready(ticket);
        }
        app.tasks.spawn(Sections::live(app.clone(), ticket, call, empty));
    }
}
