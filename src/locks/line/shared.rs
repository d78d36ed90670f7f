//! Places that several requests share: whoever asks for what an open place stands for need not stand behind it.
//!
//! What must stay true: a place stands only behind such as were taken before it. So it takes up more keys only where nobody
//! stands in their lines, or, while it waits itself, only those who came before it: waits can't make a circle, and nobody who
//! comes later makes it wait longer.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Line, Lines, Place, Seated, State, Ticket};
use crate::locks::LockKey;
use crate::locks::keys::LockKeys;

impl Lines {
    /// Whose places are the last in the lines of `keys`, each once.
    #[must_use]
    pub fn last_in(&self, keys: &LockKeys) -> Vec<u64> {
        self.state().last_in(keys)
    }

    /// Who stands behind this place in the lines of `keys`, each once.
    #[must_use]
    pub fn behind(&self, ticket: u64, keys: &[LockKey]) -> Vec<u64> {
        let state = self.state();
        let lines = keys.iter().filter_map(|key| state.lines.get(key));
        let mut behind: Vec<_> = lines
            .flat_map(|line| line.tickets.iter().map(|other| other.id).skip_while(|id| *id != ticket))
            .collect();
        behind.sort_unstable();
        behind.dedup();
        behind.retain(|id| *id != ticket);
        behind
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

impl State {
    pub(super) fn last_in(&self, keys: &LockKeys) -> Vec<u64> {
        let last = |key| Some(self.lines.get(key)?.tickets.back()?.id);
        let mut last: Vec<_> = keys.as_slice().iter().filter_map(last).collect();
        last.sort_unstable();
        last.dedup();
        last
    }
}

impl Place {
    /// Its number, as [`Lines::last_in`] tells it.
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Who stood right before it when it was taken, each once.
    #[must_use]
    pub fn ahead(&self) -> &[u64] {
        &self.ahead
    }

    /// What [`Place::served`] waits for, without the place.
    #[must_use]
    pub fn call(&self) -> Arc<Notify> {
        self.called.clone()
    }

    /// Joins the lines of more keys, if nobody stands in any of them but such as came before it, and whom it may follow. Once
    /// it is served, or other replicas were told of it, it follows nobody.
    pub fn extend(&mut self, keys: &LockKeys, may_follow: impl Fn(u64) -> bool) -> bool {
        let lines = self.lines.clone();
        let mut state = lines.state();
        let more: Vec<_> = keys.as_slice().iter().filter(|key| !self.keys.contains(key)).cloned().collect();
        let waits = state.waiting.contains_key(&self.ticket) && !self.was_announced();
        let is_free = |key: &LockKey| {
            let last = state.lines.get(key).and_then(|line| line.tickets.back());
            let follows = |last: &Ticket| waits && last.id < self.ticket && may_follow(last.id);
            last.is_none_or(follows)
        };
        let has_room = !keys.as_slice().iter().any(|key| state.is_full(key));
        if !has_room || !more.iter().all(is_free) || self.keys.add(more.iter().cloned()).is_err() {
            return false;
        }
        let follows = more.iter().filter(|key| state.stand(key, self.ticket, 0) > 0).count();
        if let Some(waiting) = state.waiting.get_mut(&self.ticket) {
            waiting.behind += follows;
        }
        true
    }

    /// Leaves the lines of all keys but these. It may be served for that.
    pub fn shrink(&mut self, to: LockKeys) {
        let lines = self.lines.clone();
        let mut state = lines.state();
        let given_up: Vec<_> = self.keys.as_slice().iter().filter(|key| !to.contains(key)).collect();
        let heads = |key: &&LockKey| state.lines.get(key).and_then(Line::head) == Some(self.ticket);
        let behind = given_up.iter().filter(|key| !heads(key)).count();
        given_up.into_iter().for_each(|key| state.leave(key, self.ticket, false));
        state.goes_on(self.ticket, behind);
        self.keys = to;
    }
}
