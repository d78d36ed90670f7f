//! The line inside one process: first come, first served, for each key, in both modes.
//!
//! A request joins the lines of all its keys in one step and is served once it heads every one of them.
//! What must stay true:
//! - Joining is atomic over all keys, so any two requests that share keys stand in the same order in all
//!   the lines they share. The oldest waiting request therefore always heads its lines: nobody deadlocks
//!   and nobody starves.
//! - A [`Place`] leaves its lines when it is dropped, served or not, so a caller that gives up or hangs up
//!   holds nobody back.
//! - Nothing here is a lock anyone's safety rests on. It keeps a crowd away from Redis and from the pool.
//! - Whoever comes when those before it in a line will take longer than it is let in for is told so at once, by how long those
//!   took who had their lease since the line was last empty. A line that does not move turns nobody away before it is full.
//!
//! Redis sees only the head of a line: one taker a replica. So that arrival counts across replicas all the same, a
//! taker tells Redis how long it has waited here, and whoever lets go announces its [`Successor`] there.

mod shared;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::keys::{LockClass, LockKey, LockKeys};
use crate::admission::Stride;

/// The most requests that may stand in one key's line; one more is turned away at once. As many as there are connections.
pub const MAX_LINE: usize = 4_096;
/// The most places that they have there: those who share none go one after the other.
pub const MAX_PLACES: usize = 2_000;
/// Of fewer who had their lease nothing can be told: one may have been held up for once.
const TELLING: u32 = 32;

/// All lines of this process.
#[derive(Debug, Default)]
pub struct Lines(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next_ticket: u64,
    lines: HashMap<LockKey, Line>,
    waiting: HashMap<u64, Waiting>,
    /// The requests that have joined others' places and wait with them.
    seated: HashMap<u64, Seated>,
}

/// Those who joined one place.
#[derive(Debug)]
struct Seated {
    class: LockClass,
    requests: usize,
}

#[derive(Debug)]
struct Line {
    tickets: VecDeque<Ticket>,
    /// Since when the one at the head has been there.
    headed_since: Instant,
    /// How long those headed it who had their lease.
    stride: Stride<TELLING>,
}

/// A place in one line, and how many requests want the key by it: one, or all who share a section.
#[derive(Debug)]
struct Ticket {
    id: u64,
    requests: usize,
}

#[derive(Debug)]
struct Waiting {
    /// In how many lines somebody else is still ahead.
    behind: usize,
    called: Arc<Notify>,
    token: Arc<str>,
    since: Instant,
    /// Whether Redis was told of it already, by the one before it.
    announced: Arc<AtomicBool>,
    class: LockClass,
}

/// A request's place in the lines of its keys.
#[derive(Debug)]
pub struct Place {
    /// Whether there was a lease for it.
    had_lease: bool,
    lines: Arc<Lines>,
    keys: LockKeys,
    ticket: u64,
    called: Arc<Notify>,
    announced: Arc<AtomicBool>,
    /// Who stood right before it when it joined, each once.
    ahead: Vec<u64>,
}

/// Who comes next at a key, in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Its token.
    pub token: Arc<str>,
    /// How long it has waited.
    pub waited: Duration,
    ticket: u64,
}

impl Successor {
    /// One that gives a key back and means to ask for it again.
    #[must_use]
    pub fn itself(token: Arc<str>, waited: Duration) -> Self {
        Self { token, waited, ticket: u64::MAX }
    }
}

/// One line as an onlooker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineSeen {
    /// The key it stands in front of.
    pub key: LockKey,
    /// Since when its head has been there.
    pub headed_for: Duration,
    /// How many wait behind the head.
    pub waiting: usize,
    /// Whether the head heads all its lines: it holds the lock, or is the one who asks Redis for it.
    pub is_served: bool,
}

/// A key's line was full, or those in it will take too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wait for one lock already")]
pub struct LineFull;

impl Lines {
    /// Joins the lines of all `keys` at once, under the token that Redis will know, to be served `within` that time, if there
    /// is one.
    ///
    /// # Errors
    /// [`LineFull`] if one of them is full, or too slow; then none was joined.
    pub fn join(
        self: &Arc<Self>,
        keys: LockKeys,
        token: Arc<str>,
        within: Option<Duration>,
    ) -> Result<Place, LineFull> {
        let mut state = self.state();
        let has_room = |line: &Line| {
            let places = line.tickets.len();
            line.requests() < MAX_LINE
                && places < MAX_PLACES
                && !within.is_some_and(|within| line.stride.is_too_slow(places as u32, within, TELLING))
        };
        if !keys.as_slice().iter().filter_map(|key| state.lines.get(key)).all(has_room) {
            return Err(LineFull);
        }
        let ahead = state.last_in(&keys);
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let mut behind = 0;
        for key in keys.as_slice() {
            behind += usize::from(state.stand(key, ticket, 1) > 0);
        }
        let (called, announced) = (Arc::new(Notify::new()), Arc::<AtomicBool>::default());
        if behind == 0 {
            called.notify_one();
        } else {
            let class = keys.class();
            let (called, since, announced) = (called.clone(), Instant::now(), announced.clone());
            let waiting = Waiting { behind, called, token, since, announced, class };
            state.waiting.insert(ticket, waiting);
        }
        drop(state);
        Ok(Place { had_lease: false, lines: self.clone(), keys, ticket, called, announced, ahead })
    }

    /// How many requests stand in `key`'s line, the one being served included.
    #[must_use]
    pub fn length(&self, key: &LockKey) -> usize {
        self.state().lines.get(key).map_or(0, Line::requests)
    }

    /// Every line there is, at most `limit` of them.
    #[must_use]
    pub fn look(&self, limit: usize) -> Vec<LineSeen> {
        let state = self.state();
        let seen = state.lines.iter().take(limit).map(|(key, line)| LineSeen {
            key: key.clone(),
            headed_for: line.headed_since.elapsed(),
            waiting: line.requests().saturating_sub(1),
            is_served: line.head().is_some_and(|head| !state.waiting.contains_key(&head)),
        });
        seen.collect()
    }

    /// The lines in which somebody waits behind the head, and how many: at most `limit` of them.
    #[must_use]
    pub fn crowds(&self, limit: usize) -> Vec<(LockKey, usize)> {
        let state = self.state();
        let crowded = state.lines.iter().filter(|(_, line)| line.requests() > 1);
        crowded.take(limit).map(|(key, line)| (key.clone(), line.requests() - 1)).collect()
    }

    /// How many requests wait behind others.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.seated.values().map(|seated| seated.requests).sum::<usize>()
    }

    /// How many of them there are of each class.
    #[must_use]
    pub fn waiting_by_class(&self) -> HashMap<LockClass, i64> {
        let (state, mut counts) = (self.state(), HashMap::new());
        state.waiting.values().for_each(|waiting| *counts.entry(waiting.class).or_default() += 1);
        state.seated.values().for_each(|s| *counts.entry(s.class).or_default() += s.requests as i64);
        counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until this request heads all its lines. Safe to drop and to call again.
    pub async fn served(&self) {
        self.called.notified().await;
        // The permit is put back, so that asking twice answers twice.
        self.called.notify_one();
    }

    /// The keys this place was taken for.
    #[must_use]
    pub fn keys(&self) -> &LockKeys {
        &self.keys
    }

    /// There is a lease for it: how long it headed its lines tells how fast they move.
    pub fn has_lease(&mut self) {
        self.had_lease = true;
    }

    /// The first key for which somebody else is still ahead, and how long that one has headed its line.
    #[must_use]
    pub fn blocked_by(&self) -> Option<(LockKey, Duration)> {
        let state = self.lines.state();
        self.keys.as_slice().iter().find_map(|key| {
            let line = state.lines.get(key)?;
            (line.head() != Some(self.ticket)).then(|| (key.clone(), line.headed_since.elapsed()))
        })
    }
}

impl Place {
    /// Who comes next at each key, in the order of the keys: only those who will head all their lines once this
    /// place is given up. They count as announced from now on.
    #[must_use]
    pub fn successors(&self) -> Vec<Option<Successor>> {
        let (mut guard, now) = (self.lines.state(), Instant::now());
        let State { lines, waiting, .. } = &mut *guard;
        let next = |key| lines.get(key).and_then(|line: &Line| Some(line.tickets.get(1)?.id));
        let second: Vec<Option<u64>> = self.keys.as_slice().iter().map(next).collect();
        let mut held_up_here: HashMap<u64, usize> = HashMap::new();
        second.iter().flatten().for_each(|ticket| *held_up_here.entry(*ticket).or_default() += 1);
        let successor = |ticket: &Option<u64>| {
            let ticket = (*ticket)?;
            let next = waiting.get_mut(&ticket).filter(|next| next.behind == held_up_here[&ticket])?;
            next.announced.store(true, Ordering::SeqCst);
            Some(Successor { token: next.token.clone(), waited: now - next.since, ticket })
        };
        second.iter().map(successor).collect()
    }

    /// Whether `successor`, announced by this place, has left before it was served: Redis may have been told of it
    /// only after that.
    #[must_use]
    pub fn has_lost(&self, successor: &Successor) -> bool {
        !self.lines.state().waiting.contains_key(&successor.ticket)
    }

    /// Whether Redis was told, or is being told, that it comes next: so it may stand in line there without ever having
    /// asked.
    #[must_use]
    pub fn was_announced(&self) -> bool {
        self.announced.load(Ordering::SeqCst)
    }

    /// Gives it up. Answers whether it was announced; it won't be from now on.
    #[must_use]
    pub fn leave(self) -> bool {
        // Announced under the same lock.
        self.lines.state().waiting.remove(&self.ticket);
        self.was_announced()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.lines.state();
        state.waiting.remove(&self.ticket);
        state.seated.remove(&self.ticket);
        self.keys.as_slice().iter().for_each(|key| state.leave(key, self.ticket, self.had_lease));
    }
}

impl Line {
    fn requests(&self) -> usize {
        self.tickets.iter().map(|ticket| ticket.requests).sum()
    }

    fn head(&self) -> Option<u64> {
        self.tickets.front().map(|ticket| ticket.id)
    }
}

impl State {
    fn is_full(&self, key: &LockKey) -> bool {
        self.lines.get(key).is_some_and(|line| line.requests() >= MAX_LINE)
    }

    /// Joins a line for so many requests, and says how many places are ahead there.
    fn stand(&mut self, key: &LockKey, id: u64, requests: usize) -> usize {
        let empty =
            || Line { tickets: VecDeque::new(), headed_since: Instant::now(), stride: Stride::default() };
        let line = self.lines.entry(key.clone()).or_insert_with(empty);
        line.tickets.push_back(Ticket { id, requests });
        line.tickets.len() - 1
    }

    fn each_of(&mut self, id: u64, keys: &LockKeys, change: impl Fn(&mut usize)) {
        for key in keys.as_slice() {
            let line = self.lines.get_mut(key);
            let ticket = line.and_then(|line| line.tickets.iter_mut().rev().find(|ticket| ticket.id == id));
            ticket.into_iter().for_each(|ticket| change(&mut ticket.requests));
        }
    }

    /// Leaves a line, and calls the next there if that one heads all its lines now.
    fn leave(&mut self, key: &LockKey, id: u64, had_lease: bool) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let headed = line.head() == Some(id);
        if headed {
            line.tickets.pop_front();
            let now = Instant::now();
            let since = std::mem::replace(&mut line.headed_since, now);
            if had_lease {
                line.stride.took(now - since);
            }
        } else {
            line.tickets.retain(|ticket| ticket.id != id);
        }
        let head = line.head();
        if head.is_none() {
            self.lines.remove(key);
        }
        if let Some(next) = head.filter(|_| headed) {
            self.goes_on(next, 1);
        }
    }

    /// Somebody is ahead of it in so many lines less. Calls it, if nobody is in any.
    fn goes_on(&mut self, id: u64, lines: usize) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        waiting.behind -= lines;
        if waiting.behind == 0 {
            waiting.called.notify_one();
            self.waiting.remove(&id);
        }
    }
}
