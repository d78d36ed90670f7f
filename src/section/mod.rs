//! The one way in which a guarded write runs, top to bottom: known answer → lease → begin → claim → names → the
//! verb's own `…_in_tx` → answer kept with the claim → commit → release.
//!
//! What must stay true: nothing is answered before the commit returned; a refusal commits nothing but
//! itself; whatever comes of a section, its lease is released; its transaction ends in time, or is
//! [given up](crate::db::give_up_after), and then nobody knows what became of it; a row is waited for no longer than what
//! was left of the wait for the lease; the first request with its key, if that runs elsewhere, is waited
//! for under a lease for a moment only.

pub mod metrics;
mod rows;
pub mod share;
mod together;

use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::PgConnection;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use self::together::Left;
use crate::admission::TooLong;
use crate::app::App;
use crate::db::{Collides, Db, DbError, run_again_if_it_collides};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::idempotency::{self, Claim, IN_HAND_WAIT, IdempotencyError, Refuses};
use crate::inventory::model::Witness;
use crate::locks::{Arrival, Evidence, LockError, LockKeys, lock_names_in_tx};

/// A request over more keys than so many is large. It shares no section, for those who shared with it would wait for its
/// size; and it stands in no line before it is its turn among the large, for it would stand in the lines of nearly
/// everybody.
const SHARED_KEYS_MAX: usize = 64;

/// Who waits for the first request with its key looks so often before it looks whether that has ended without an answer.
const LOOKS_A_CLOSE_ONE: u32 = 5;

/// A guarded verb: what it does inside the transaction.
pub trait Verb: Sync {
    /// What it answers with.
    type Done: Serialize + Send;
    /// How it can fail.
    type Error: Refuses + Collides + From<IdempotencyError> + From<LockError> + Send;

    /// The answer to this request that is there already, if it is a repetition. Whoever runs alone asks before anything is
    /// locked, and does not stand in line; whoever [shares](share) asks when it has waited for a while.
    ///
    /// # Errors
    /// A key that refuses, and faults.
    fn known_answer(
        &self,
        db: &Db,
        claim: &Claim,
    ) -> impl Future<Output = Result<Option<Answer>, Self::Error>> + Send {
        idempotency::known_answer(db, claim)
    }

    /// Locks rows, decides, writes. Never commits, and writes nothing before it is sure not to refuse.
    ///
    /// # Errors
    /// Refusals by the business, and faults.
    fn in_tx(
        &self,
        conn: &mut PgConnection,
        witness: Witness<'_>,
    ) -> impl Future<Output = Result<Self::Done, Self::Error>> + Send;
}

/// What a section needs besides the verb.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// The running service.
    pub app: &'a App,
    /// Who asks.
    pub caller: &'a Caller,
    /// The request's idempotency claim, if it has a key.
    pub claim: Option<&'a Claim>,
    /// The status of success.
    pub success: StatusCode,
}

impl Section<'_> {
    /// Runs `verb` under the lease of `keys`, again if it collided with another transaction.
    ///
    /// # Errors
    /// The verb's, but for refusals by the business, which are answers; no lease; a key that refuses.
    pub async fn run<V: Verb>(&self, keys: &LockKeys, verb: &V) -> Result<Answer, V::Error> {
        self.app.pulse.wanted(keys);
        let sets_its_wait = self.caller.patience.left().is_some();
        let arrival = if sets_its_wait { Arrival::Admitted } else { Arrival::New };
        self.run_from(Instant::now(), arrival, None, keys, verb).await
    }

    /// The same for a request that `left` a section, and has waited since `arrived`.
    async fn run_on<V: Verb>(
        &self,
        arrived: Instant,
        left: Left,
        keys: &LockKeys,
        verb: &V,
    ) -> Result<Answer, V::Error> {
        self.run_from(arrived, Arrival::Admitted, Some(left), keys, verb).await
    }

    async fn run_from<V: Verb>(
        &self,
        arrived: Instant,
        mut arrival: Arrival,
        left: Option<Left>,
        keys: &LockKeys,
        verb: &V,
    ) -> Result<Answer, V::Error> {
        let deadline = arrived + self.app.locks.longest_wait();
        let mut in_hand = left == Some(Left::InHand);
        self.caller.patience.heed();
        loop {
            let started = Instant::now();
            if let Some(claim) = self.claim
                && let Some(first) = verb.known_answer(&self.app.db, claim).await?
            {
                let unlocked = Evidence { mode: self.app.locks.mode(), wait_ms: 0 };
                return Ok(first.guarded(unlocked, started.elapsed()));
            }
            let mut once =
                || self.once(std::mem::replace(&mut arrival, Arrival::Admitted), deadline, keys, verb);
            if !in_hand && let Some(answer) = run_again_if_it_collides(&mut once).await? {
                return Ok(answer);
            }
            self.wait_for_the_first::<V::Error>(deadline).await?;
            in_hand = false;
        }
    }

    /// None if the first request with its key is still running elsewhere.
    async fn once<V: Verb>(
        &self,
        arrival: Arrival,
        deadline: Instant,
        keys: &LockKeys,
        verb: &V,
    ) -> Result<Option<Answer>, V::Error> {
        let trace = &self.caller.trace;
        let mut waiting = trace.span("lock.wait");
        let (mut limit, gone) = (self.left(deadline), &self.caller.gone);
        let _passed = if keys.as_slice().len() > SHARED_KEYS_MAX {
            let came = Instant::now();
            let passed = match self.pass_as_large(limit, keys).await {
                Ok(passed) => passed,
                Err(error) => {
                    waiting.failed();
                    drop(waiting);
                    return self.answer_of_the_first_or(error).await.map(Some);
                }
            };
            limit = limit.saturating_sub(came.elapsed());
            Some(passed)
        } else {
            None
        };
        let lease = match self.app.locks.acquire_as(arrival, limit, keys.clone(), gone).await {
            Ok(lease) => lease,
            Err(busy) => {
                waiting.failed();
                drop(waiting);
                return self.answer_if_busy(busy).await.map(Some);
            }
        };
        let (evidence, started) = (lease.evidence(), Instant::now());
        waiting.note("lock.mode", evidence.mode.as_str());
        drop(waiting);
        let mut section = trace.span("section");
        section.note("section.requests", 1);
        let metrics = &self.app.sections.metrics;
        metrics.begun(1, keys.as_slice().len());
        let timed = async {
            let transaction = section.trace().span("transaction");
            let answer = self.under(evidence, deadline, keys, verb).await;
            metrics.transactions.observe(started.elapsed().as_secs_f64());
            transaction.ended_with(answer)
        };
        let answer = lease.release_after(timed).await;
        section.ended_with(answer)
    }

    /// Waits, holding nothing, until the first request with its key has ended.
    async fn wait_for_the_first<E>(&self, deadline: Instant) -> Result<(), E>
    where
        E: From<IdempotencyError> + From<DbError> + From<LockError>,
    {
        let Some(claim) = self.claim else { return Ok(()) };
        let Self { app, caller, .. } = *self;
        let _waiting = caller.trace.span("key.wait");
        let (mut looks, mut failed) = (0, None);
        loop {
            let pause = app.locks.look_every().min(self.left(deadline));
            if pause.is_zero() {
                return Err(failed.map_or_else(|| IdempotencyError::InFlight.into(), DbError::into));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = caller.gone.cancelled() => return Err(LockError::CallerGone.into()),
            }
            let Some(_few_at_a_time) = app.sections.may_look_again().await else { continue };
            looks += 1;
            // That it ended without an answer is seldom, and costs more to see.
            let closely = looks % LOOKS_A_CLOSE_ONE == 0 || self.left(deadline).is_zero();
            match app.db.in_time(idempotency::has_ended(&app.db, claim, closely)).await.flatten() {
                Ok(true) => return Ok(()),
                // The next look tells, if there is one.
                ended => failed = ended.err(),
            }
        }
    }

    /// Waits until it is its turn among the large requests of this process.
    async fn pass_as_large(
        &self,
        wait: Duration,
        keys: &LockKeys,
    ) -> Result<OwnedSemaphorePermit, LockError> {
        let passed = tokio::select! {
            biased;
            passed = self.app.sections.large.pass_in_time(wait) => passed.map_err(|TooLong| LockError::Overloaded),
            () = self.caller.gone.cancelled() => Err(LockError::CallerGone),
        };
        passed.inspect_err(|error| self.app.locks.count_refused(keys.class(), error))
    }

    async fn under<V: Verb>(
        &self,
        lock: Evidence,
        deadline: Instant,
        keys: &LockKeys,
        verb: &V,
    ) -> Result<Option<Answer>, V::Error> {
        let Self { app, caller, claim, success } = *self;
        let started = Instant::now();
        let transaction = async {
            let left = self.left(deadline);
            let mut tx = app.db.begin_within(Some(left)).await?;
            let claims: Vec<_> = claim.into_iter().collect();
            let begun = idempotency::begin_all_in_tx(&mut tx, &claims, IN_HAND_WAIT.min(left)).await?;
            let Some(mut begun) = begun else { return Ok(None) };
            let answer = match begun.pop().transpose()?.flatten() {
                Some(first) => first,
                None => {
                    lock_names_in_tx(&mut tx, keys).await?;
                    let witness = Witness {
                        subject: &caller.principal.subject,
                        request_id: &caller.request_id,
                        traceparent: caller.trace.request(),
                        lock,
                    };
                    let outcome = verb.in_tx(&mut tx, witness).await;
                    idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, success, outcome).await?
                }
            };
            tx.commit().await.map_err(DbError::from)?;
            Ok::<_, V::Error>(Some(answer))
        };
        let answer = app.db.in_time(transaction).await??;
        Ok(answer.map(|answer| answer.guarded(lock, started.elapsed())))
    }

    /// What is left of its wait.
    fn left(&self, deadline: Instant) -> Duration {
        let left = deadline.saturating_duration_since(Instant::now());
        self.caller.patience.left().map_or(left, |patience| patience.min(left))
    }

    /// Whoever waited in vain for a key may have waited for the very request it repeats.
    pub(crate) async fn answer_if_busy<E>(&self, error: LockError) -> Result<Answer, E>
    where
        E: From<IdempotencyError> + From<DbError> + From<LockError>,
    {
        match error {
            LockError::Busy { .. } => self.answer_of_the_first_or(error).await,
            error => Err(error.into()),
        }
    }

    /// The answer to the request that this one repeats, or why it has none; `error` if it repeats none.
    async fn answer_of_the_first_or<E>(&self, error: LockError) -> Result<Answer, E>
    where
        E: From<IdempotencyError> + From<DbError> + From<LockError>,
    {
        let Some(claim) = self.claim else { return Err(error.into()) };
        let Some(_few_at_a_time) = self.app.sections.may_look().await else { return Err(error.into()) };
        if let Some(first) = idempotency::known_answer::<E>(&self.app.db, claim).await? {
            return Ok(first.guarded(Evidence { mode: self.app.locks.mode(), wait_ms: 0 }, Duration::ZERO));
        }
        if idempotency::is_claimed_now(&self.app.db, &claim.scope, &claim.key).await? {
            return Err(IdempotencyError::InFlight.into());
        }
        Err(error.into())
    }
}
