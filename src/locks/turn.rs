//! A turn: a place in the lines of this process, and what becomes of it.
//!
//! [`Locks::acquire`] goes through it in one go. A [section](crate::section) that several requests share keeps it open
//! while it waits, and gives up or takes up keys on the way.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::layer::Layer;
use super::lease::Taken;
use super::line::Place;
use super::{DatabaseOnly, Inner, Lease, LockError, LockKey, LockKeys, Locks};

/// A place in line, before there is a lease. Dropped, it is given up in this process; [`Turn::give_up`] does so in all.
#[derive(Debug)]
pub struct Turn {
    inner: Arc<Inner>,
    pub(super) place: Place,
    token: Arc<str>,
    pub(super) started: Instant,
}

/// How somebody comes to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It may be told at once that it comes too late.
    New,
    /// It was let in before, or says itself how long it waits.
    Admitted,
}

/// What Redis gave, or why a lease is without it.
pub(crate) type TakenOrNot = Result<Taken, DatabaseOnly>;

impl Locks {
    /// Whose places are the last in the lines of `keys`, each once.
    #[must_use]
    pub fn last_in(&self, keys: &LockKeys) -> Vec<u64> {
        self.0.lines.last_in(keys)
    }

    /// Who stands behind a place in the lines of `keys`, each once.
    #[must_use]
    pub fn behind(&self, ticket: u64, keys: &[LockKey]) -> Vec<u64> {
        self.0.lines.behind(ticket, keys)
    }

    /// Adds a request to a place that has all of `keys`. False if one of the lines is full.
    #[must_use]
    pub fn seat(&self, ticket: u64, keys: &LockKeys) -> bool {
        self.0.lines.seat(ticket, keys)
    }

    /// Takes one away again that gave up.
    pub fn unseat(&self, ticket: u64, keys: &LockKeys) {
        self.0.lines.unseat(ticket, keys);
    }

    /// Joins the lines of `keys`, for somebody who has waited since `started`: other replicas' waiters are told so.
    ///
    /// # Errors
    /// [`LockError::Overloaded`] if one of the lines is full, or those in it will take too long.
    pub fn queue_since(&self, started: Instant, arrival: Arrival, keys: LockKeys) -> Result<Turn, LockError> {
        let inner = self.0.clone();
        let token = inner.layer.as_ref().map_or_else(|| Arc::from(""), Layer::token);
        // A crowd slows down those before it.
        let within = (arrival == Arrival::New).then(|| self.longest_wait() * 3 / 4);
        let place = inner.lines.join(keys, token.clone(), within)?;
        Ok(Turn { inner, place, token, started })
    }
}

impl Turn {
    /// The keys it stands for.
    #[must_use]
    pub fn keys(&self) -> &LockKeys {
        self.place.keys()
    }

    /// The number of its place.
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.place.ticket()
    }

    /// Is notified once the place heads all its lines.
    #[must_use]
    pub fn call(&self) -> Arc<Notify> {
        self.place.call()
    }

    /// Who stood right before it when it was taken, each once.
    #[must_use]
    pub fn ahead(&self) -> &[u64] {
        self.place.ahead()
    }

    /// Takes up more keys, if nobody stands in line for them but such as came before it, and whom it may follow while it
    /// waits.
    pub fn extend(&mut self, keys: &LockKeys, may_follow: impl Fn(u64) -> bool) -> bool {
        self.place.extend(keys, may_follow)
    }

    /// Gives up all keys but these.
    pub fn shrink(&mut self, to: LockKeys) {
        self.place.shrink(to);
    }

    /// Whoever shares the place waits no more.
    pub fn serve(&self) {
        self.inner.lines.serve(self.ticket(), self.keys());
    }

    /// Takes the keys in Redis, once its place is served. Waits for other replicas until `deadline`, if `waits` allows
    /// it for the key that is held. After an error it may be tried again.
    ///
    /// # Errors
    /// [`LockError`]; nothing is held then.
    pub(crate) async fn take(
        &mut self,
        deadline: Instant,
        gone: &CancellationToken,
        waits: &mut (dyn FnMut(&LockKey) -> bool + Send),
    ) -> Result<TakenOrNot, LockError> {
        let Some(layer) = &self.inner.layer else { return Ok(Err(DatabaseOnly::NotConfigured)) };
        // One token a try: what a try that failed left behind is taken back in the background.
        let token = std::mem::replace(&mut self.token, layer.token());
        self.inner.take_in_turn(&self.place, token, (self.started, deadline), gone, waits).await
    }

    /// The lease on what was taken.
    pub(crate) fn lease(mut self, taken: TakenOrNot) -> Lease {
        // How long Redis held somebody up before it failed tells nothing of those who come.
        if !matches!(taken, Err(DatabaseOnly::Fault)) {
            self.place.has_lease();
        }
        Lease::new(self.inner, self.place, taken, self.started)
    }

    /// Leaves the lines, Redis's too if it was told of this one.
    pub fn give_up(self) {
        self.inner.give_up(self.place, self.token);
    }

    /// Gives up, and says who was in the way.
    #[must_use]
    pub fn busy(self) -> LockError {
        let error = self.blocked();
        self.give_up();
        error
    }

    /// Who is in the way.
    #[must_use]
    pub fn blocked(&self) -> LockError {
        let (key, holder_age) = self.place.blocked_by().unzip();
        let key = key.unwrap_or_else(|| self.keys().as_slice()[0].clone());
        LockError::Busy { key, holder_age, waited: self.started.elapsed() }
    }
}
