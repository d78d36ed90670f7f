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
//!
//! Redis sees only the head of a line: one taker a replica. So that arrival counts across replicas all the same, a
//! taker tells Redis how long it has waited here, and whoever lets go announces its [`Successor`] there.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::keys::{LockClass, LockKey, LockKeys};

/// The most requests that may stand in one key's line; one more is turned away at once.
pub const MAX_LINE: usize = 2_000;

/// All lines of this process.
#[derive(Debug, Default)]
pub struct Lines(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next_ticket: u64,
    lines: HashMap<LockKey, Line>,
    waiting: HashMap<u64, Waiting>,
}

#[derive(Debug)]
struct Line {
    tickets: VecDeque<u64>,
    /// Since when the one at the head has been there.
    headed_since: Instant,
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
    lines: Arc<Lines>,
    keys: LockKeys,
    ticket: u64,
    called: Arc<Notify>,
    announced: Arc<AtomicBool>,
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

/// A key's line was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_LINE} requests wait for one lock already")]
pub struct LineFull;

impl Lines {
    /// Joins the lines of all `keys` at once, under the token that Redis will know.
    ///
    /// # Errors
    /// [`LineFull`] if one of them is full; then none was joined.
    pub fn join(self: &Arc<Self>, keys: LockKeys, token: Arc<str>) -> Result<Place, LineFull> {
        let mut state = self.state();
        let is_full = |key| state.lines.get(key).is_some_and(|line| line.tickets.len() >= MAX_LINE);
        if keys.as_slice().iter().any(is_full) {
            return Err(LineFull);
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let mut behind = 0;
        for key in keys.as_slice() {
            let line = state
                .lines
                .entry(key.clone())
                .or_insert_with(|| Line { tickets: VecDeque::new(), headed_since: Instant::now() });
            behind += usize::from(!line.tickets.is_empty());
            line.tickets.push_back(ticket);
        }
        let (called, announced) = (Arc::new(Notify::new()), Arc::<AtomicBool>::default());
        if behind == 0 {
            called.notify_one();
        } else {
            let class = keys.as_slice().first().map_or(LockClass::Inventory, LockKey::class);
            let (called, since, announced) = (called.clone(), Instant::now(), announced.clone());
            let waiting = Waiting { behind, called, token, since, announced, class };
            state.waiting.insert(ticket, waiting);
        }
        drop(state);
        Ok(Place { lines: self.clone(), keys, ticket, called, announced })
    }

    /// How many requests stand in `key`'s line, the one being served included.
    #[must_use]
    pub fn length(&self, key: &LockKey) -> usize {
        self.state().lines.get(key).map_or(0, |line| line.tickets.len())
    }

    /// Every line there is, at most `limit` of them.
    #[must_use]
    pub fn look(&self, limit: usize) -> Vec<LineSeen> {
        let state = self.state();
        let seen = state.lines.iter().take(limit).map(|(key, line)| LineSeen {
            key: key.clone(),
            headed_for: line.headed_since.elapsed(),
            waiting: line.tickets.len().saturating_sub(1),
            is_served: line.tickets.front().is_some_and(|head| !state.waiting.contains_key(head)),
        });
        seen.collect()
    }

    /// The lines in which somebody waits behind the head, and how many: at most `limit` of them.
    #[must_use]
    pub fn crowds(&self, limit: usize) -> Vec<(LockKey, usize)> {
        let state = self.state();
        let crowded = state.lines.iter().filter(|(_, line)| line.tickets.len() > 1);
        crowded.take(limit).map(|(key, line)| (key.clone(), line.tickets.len() - 1)).collect()
    }

    /// How many requests wait behind others.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// How many of them there are of each class.
    #[must_use]
    pub fn waiting_by_class(&self) -> HashMap<LockClass, i64> {
        let mut counts = HashMap::new();
        self.state().waiting.values().for_each(|waiting| *counts.entry(waiting.class).or_default() += 1);
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

    /// The first key for which somebody else is still ahead, and how long that one has headed its line.
    #[must_use]
    pub fn blocked_by(&self) -> Option<(LockKey, Duration)> {
        let state = self.lines.state();
        self.keys.as_slice().iter().find_map(|key| {
            let line = state.lines.get(key)?;
            (line.tickets.front() != Some(&self.ticket)).then(|| (key.clone(), line.headed_since.elapsed()))
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
        let next = |key| lines.get(key).and_then(|line: &Line| line.tickets.get(1).copied());
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
        let mut guard = self.lines.state();
        let state = &mut *guard;
        state.waiting.remove(&self.ticket);
        for key in self.keys.as_slice() {
            let Some(line) = state.lines.get_mut(key) else {
                continue;
            };
            let headed = line.tickets.front() == Some(&self.ticket);
            if headed {
                line.tickets.pop_front();
                line.headed_since = Instant::now();
            } else {
                line.tickets.retain(|ticket| *ticket != self.ticket);
            }
            let head = line.tickets.front().copied();
            if head.is_none() {
                state.lines.remove(key);
            }
            let Some(next) = head.filter(|_| headed) else {
                continue;
            };
            let Some(waiting) = state.waiting.get_mut(&next) else {
                continue;
            };
            waiting.behind -= 1;
            if waiting.behind == 0 {
                waiting.called.notify_one();
                state.waiting.remove(&next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn keys(ids: &[u128]) -> LockKeys {
        LockKeys::variants(ids.iter().map(|id| Uuid::from_u128(*id))).unwrap()
    }

    fn join(lines: &Arc<Lines>, keys: LockKeys) -> Result<Place, LineFull> {
        lines.join(keys, "a token".into())
    }

    fn is_served(place: &Place) -> bool {
        place.served().now_or_never().is_some()
    }

    #[test]
    fn the_first_is_served_at_once_and_the_rest_in_order_of_arrival() {
        let lines = Arc::new(Lines::default());
        let first = join(&lines, keys(&[1])).unwrap();
        let second = join(&lines, keys(&[1])).unwrap();
        let third = join(&lines, keys(&[1])).unwrap();
        assert!(is_served(&first) && !is_served(&second) && !is_served(&third));
        drop(first);
        assert!(is_served(&second) && !is_served(&third));
        drop(second);
        assert!(is_served(&third));
    }

    #[test]
    fn a_request_over_several_keys_waits_for_all_of_them_and_is_not_overtaken() {
        let lines = Arc::new(Lines::default());
        let one = join(&lines, keys(&[1])).unwrap();
        let both = join(&lines, keys(&[1, 2])).unwrap();
        let two = join(&lines, keys(&[2])).unwrap();
        assert!(!is_served(&both) && !is_served(&two), "two arrived after both, which needs it too");
        assert_eq!(both.blocked_by().unwrap().0, LockKey::Inventory(Uuid::from_u128(1)));
        drop(one);
        assert!(is_served(&both) && !is_served(&two));
        drop(both);
        assert!(is_served(&two));
    }

    #[test]
    fn whoever_leaves_early_holds_nobody_back() {
        let lines = Arc::new(Lines::default());
        let first = join(&lines, keys(&[1])).unwrap();
        let gone = join(&lines, keys(&[1, 2])).unwrap();
        let last = join(&lines, keys(&[1, 2])).unwrap();
        drop(gone);
        assert!(!is_served(&last));
        drop(first);
        assert!(is_served(&last));
        drop(last);
        assert_eq!(lines.length(&LockKey::Inventory(Uuid::from_u128(1))), 0, "empty lines are not kept");
        assert!(lines.state().lines.is_empty() && lines.state().waiting.is_empty());
    }

    #[test]
    fn only_those_who_will_be_served_next_are_announced() {
        let lines = Arc::new(Lines::default());
        let holder = join(&lines, keys(&[1, 2, 3])).unwrap();
        let next = lines.join(keys(&[1, 2]), "next".into()).unwrap();
        let elsewhere = join(&lines, keys(&[4])).unwrap();
        let held_up_elsewhere = lines.join(keys(&[3, 4]), "held up".into()).unwrap();
        let tokens: Vec<_> =
            holder.successors().into_iter().map(|successor| successor.map(|next| next.token)).collect();
        assert_eq!(tokens, [Some(Arc::from("next")), Some(Arc::from("next")), None]);
        drop(elsewhere);
        let successors = holder.successors();
        let held_up = successors[2].as_ref().unwrap();
        assert_eq!(&*held_up.token, "held up");
        assert!(!holder.has_lost(held_up));
        assert!(next.leave() && held_up_elsewhere.leave(), "Redis was told of both");
        assert!(holder.has_lost(held_up), "it was told of one that is gone");
        let unannounced = join(&lines, keys(&[1])).unwrap();
        assert!(!unannounced.leave());
    }

    #[test]
    fn an_onlooker_sees_who_is_served_and_how_many_wait() {
        let lines = Arc::new(Lines::default());
        let _first = join(&lines, keys(&[1])).unwrap();
        let _both = join(&lines, keys(&[1, 2])).unwrap();
        let mut seen = lines.look(10);
        seen.sort_by(|a, b| a.key.cmp(&b.key));
        let told: Vec<_> = seen.iter().map(|line| (line.waiting, line.is_served)).collect();
        assert_eq!((told, lines.waiting()), (vec![(1, true), (0, false)], 1));
    }

    #[test]
    fn strangers_do_not_wait_for_each_other() {
        let lines = Arc::new(Lines::default());
        let one = join(&lines, keys(&[1])).unwrap();
        let two = join(&lines, keys(&[2])).unwrap();
        assert!(is_served(&one) && is_served(&two));
    }

    #[test]
    fn a_full_line_turns_the_next_one_away_and_joins_nothing() {
        let lines = Arc::new(Lines::default());
        let places: Vec<_> = (0..MAX_LINE).map(|_| join(&lines, keys(&[1])).unwrap()).collect();
        assert_eq!(join(&lines, keys(&[1, 2])).unwrap_err(), LineFull);
        assert_eq!(lines.length(&LockKey::Inventory(Uuid::from_u128(2))), 0);
        drop(places);
        assert!(join(&lines, keys(&[1, 2])).is_ok());
    }
}
