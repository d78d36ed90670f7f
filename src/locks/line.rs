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

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::keys::{LockKey, LockKeys};

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
}

/// A request's place in the lines of its keys.
#[derive(Debug)]
pub struct Place {
    lines: Arc<Lines>,
    keys: LockKeys,
    ticket: u64,
    called: Arc<Notify>,
}

/// A key's line was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_LINE} requests wait for one lock already")]
pub struct LineFull;

impl Lines {
    /// Joins the lines of all `keys` at once.
    ///
    /// # Errors
    /// [`LineFull`] if one of them is full; then none was joined.
    pub fn join(self: &Arc<Self>, keys: LockKeys) -> Result<Place, LineFull> {
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
        let called = Arc::new(Notify::new());
        if behind == 0 {
            called.notify_one();
        } else {
            state.waiting.insert(ticket, Waiting { behind, called: called.clone() });
        }
        drop(state);
        Ok(Place { lines: self.clone(), keys, ticket, called })
    }

    /// How many requests stand in `key`'s line, the one being served included.
    #[must_use]
    pub fn length(&self, key: &LockKey) -> usize {
        self.state().lines.get(key).map_or(0, |line| line.tickets.len())
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

    fn is_served(place: &Place) -> bool {
        place.served().now_or_never().is_some()
    }

    #[test]
    fn the_first_is_served_at_once_and_the_rest_in_order_of_arrival() {
        let lines = Arc::new(Lines::default());
        let first = lines.join(keys(&[1])).unwrap();
        let second = lines.join(keys(&[1])).unwrap();
        let third = lines.join(keys(&[1])).unwrap();
        assert!(is_served(&first) && !is_served(&second) && !is_served(&third));
        drop(first);
        assert!(is_served(&second) && !is_served(&third));
        drop(second);
        assert!(is_served(&third));
    }

    #[test]
    fn a_request_over_several_keys_waits_for_all_of_them_and_is_not_overtaken() {
        let lines = Arc::new(Lines::default());
        let one = lines.join(keys(&[1])).unwrap();
        let both = lines.join(keys(&[1, 2])).unwrap();
        let two = lines.join(keys(&[2])).unwrap();
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
        let first = lines.join(keys(&[1])).unwrap();
        let gone = lines.join(keys(&[1, 2])).unwrap();
        let last = lines.join(keys(&[1, 2])).unwrap();
        drop(gone);
        assert!(!is_served(&last));
        drop(first);
        assert!(is_served(&last));
        drop(last);
        assert_eq!(lines.length(&LockKey::Inventory(Uuid::from_u128(1))), 0, "empty lines are not kept");
        assert!(lines.state().lines.is_empty() && lines.state().waiting.is_empty());
    }

    #[test]
    fn strangers_do_not_wait_for_each_other() {
        let lines = Arc::new(Lines::default());
        let one = lines.join(keys(&[1])).unwrap();
        let two = lines.join(keys(&[2])).unwrap();
        assert!(is_served(&one) && is_served(&two));
    }

    #[test]
    fn a_full_line_turns_the_next_one_away_and_joins_nothing() {
        let lines = Arc::new(Lines::default());
        let places: Vec<_> = (0..MAX_LINE).map(|_| lines.join(keys(&[1])).unwrap()).collect();
        assert_eq!(lines.join(keys(&[1, 2])).unwrap_err(), LineFull);
        assert_eq!(lines.length(&LockKey::Inventory(Uuid::from_u128(2))), 0);
        drop(places);
        assert!(lines.join(keys(&[1, 2])).is_ok());
    }
}
