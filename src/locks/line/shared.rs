//! Places that several requests share: whoever asks for what an open place stands for need not stand behind it.
//!
//! What must stay true: a place comes to stand behind nobody whom it did not stand behind when it was taken. So it takes
//! up more keys only if nobody stands in their lines, and waits can't make a circle.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Lines, Place, Seated};
use crate::locks::keys::LockKeys;

impl Lines {
    /// Whose place is the last in the lines of `keys`.
    #[must_use]
    pub fn last_in(&self, keys: &LockKeys) -> Ahead {
        let state = self.state();
        let mut last = keys.as_slice().iter().filter_map(|key| state.lines.get(key)?.tickets.back());
        let Some(first) = last.next().map(|ticket| ticket.id) else { return Ahead::Nobody };
        if last.all(|ticket| ticket.id == first) { Ahead::One(first) } else { Ahead::Several }
    }

    /// Adds a request to a place that has all of `keys`. False if one of the lines is full.
    pub fn seat(&self, ticket: u64, keys: &LockKeys) -> bool {
        let mut state = self.state();
        if keys.as_slice().iter().any(|key| state.is_full(key)) {
            return false;
        }
        state.each_of(ticket, keys, |requests| *requests += 1);
        let class = keys.class();
        state.seated.entry(ticket).or_insert(Seated { class, requests: 0 }).requests += 1;
        true
    }

    /// Takes one away again that gave up.
    pub fn unseat(&self, ticket: u64, keys: &LockKeys) {
        let mut state = self.state();
        state.each_of(ticket, keys, |requests| *requests = requests.saturating_sub(1));
        if let Some(seated) = state.seated.get_mut(&ticket) {
            seated.requests = seated.requests.saturating_sub(1);
        }
    }

    /// Whoever shares this place waits no more: all of them are served together.
    pub fn serve(&self, ticket: u64, keys: &LockKeys) {
        let mut state = self.state();
        state.seated.remove(&ticket);
        state.each_of(ticket, keys, |requests| *requests = 1);
    }
}

/// Who was last to ask for some keys, among those who still have a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// Nobody has a place in any of their lines.
    Nobody,
    /// The same one wherever anybody has.
    One(u64),
    /// One here and another there.
    Several,
}

impl Place {
    /// Its number, as [`Ahead::One`] tells it.
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// What [`Place::served`] waits for, without the place.
    #[must_use]
    pub fn call(&self) -> Arc<Notify> {
        self.called.clone()
    }

    /// Joins the lines of more keys, if nobody stands in any of them. So it comes to stand behind nobody whom it did not
    /// stand behind before, which is why this can't make a circle.
    pub fn extend(&mut self, keys: &LockKeys) -> bool {
        let lines = self.lines.clone();
        let mut state = lines.state();
        let more: Vec<_> = keys.as_slice().iter().filter(|key| !self.keys.contains(key)).cloned().collect();
        if more.iter().any(|key| state.lines.contains_key(key)) {
            return false;
        }
        if self.keys.add(more.iter().cloned()).is_err() {
            return false;
        }
        for key in &more {
            state.stand(key, self.ticket, 0);
        }
        true
    }

    /// Leaves the lines of all keys but these.
    pub fn shrink(&mut self, to: LockKeys) {
        let lines = self.lines.clone();
        let mut state = lines.state();
        let given_up = self.keys.as_slice().iter().filter(|key| !to.contains(key));
        given_up.for_each(|key| state.leave(key, self.ticket));
        self.keys = to;
    }
}
