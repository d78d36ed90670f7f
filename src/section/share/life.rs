//! A section's life: its place in the lines is served → a slot → its keys → one transaction → each is told.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::joining::{Member, all_need};
use super::{Outcome, Sections};
use crate::admission::TooLong;
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::locks::{Evidence, LockError, LockKey, TakenOrNot, Turn};
use crate::section::together::{Answers, Failed, Joined, Left, Prepared, together};

impl Sections {
    /// When the first of a section's requests has waited too long; none if all have left.
    fn deadline(&self, ticket: u64, wait: Duration) -> Option<Instant> {
        first_deadline(&self.state().open.get(&ticket)?.members, wait)
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
        state.open.get(&ticket).is_none_or(|open| open.all_need(key))
    }

    /// From now on the section takes up no more keys.
    fn take_turn(&self, ticket: u64) -> Option<Turn> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.settle(ticket);
        let open = state.open.get_mut(&ticket)?;
        let turn = open.turn.take()?;
        open.keys = turn.keys().clone();
        Some(turn)
    }

    /// Nobody joins it any more.
    fn close(&self, ticket: u64) -> Vec<Member> {
        let mut state = self.state();
        state.settle(ticket);
        state.open.remove(&ticket).map(|open| open.members).unwrap_or_default()
    }

    /// These are served now. It tells how fast that goes if they waited for a slot only, and others wait still.
    fn keep_pace(&self, members: &[Member], in_turn: bool) {
        let others_wait = !self.state().open.is_empty();
        match first_deadline(members, Duration::ZERO).filter(|_| in_turn && others_wait) {
            Some(came) => self.pace.served(members.len(), came),
            None => self.pace.interrupted(),
        }
    }

    /// Sets those apart who need `key`, which others hold, and goes on with the rest.
    fn split(app: &Arc<App>, ticket: u64, turn: &mut Turn, key: &LockKey) {
        let mut state = app.sections.state();
        let Some(open) = state.open.get_mut(&ticket) else { return };
        let keys = std::slice::from_ref(key);
        let leaving = open.part_with(app, ticket, Some(turn), keys);
        state.set_apart(app, leaving, keys);
    }

    /// A section's life, from its place in line to its answers.
    pub(super) async fn live(app: Arc<App>, ticket: u64, call: Arc<Notify>, empty: CancellationToken) {
        let sections = &app.sections;
        // Should it panic, those it has not answered are told so, and nobody joins it any more.
        let _closed = Closes { app: &app, ticket };
        let Some((mut turn, slot)) = sections.served(&app, ticket, &call, &empty).await else {
            let turn = sections.take_turn(ticket);
            sections.close(ticket);
            turn.into_iter().for_each(Turn::give_up);
            return;
        };
        let Some((taken, mut prepared)) = Self::taken(&app, ticket, &mut turn, slot, &empty).await else {
            sections.close(ticket);
            turn.give_up();
            return;
        };
        let members = sections.close(ticket);
        turn.serve();
        sections.keep_pace(&members, prepared.slot.is_some());
        // Given up for a wait. If there is none now it goes on without, for others wait for its lease.
        prepared.slot = prepared.slot.or_else(|| sections.slots.try_pass());
        let keys = turn.keys().clone();
        let lease = turn.lease(taken);
        let (started, evidence, since) = (Instant::now(), lease.evidence(), lease.since());
        sections.metrics.begun(members.len(), keys.as_slice().len());
        let guard = |member: &Member| {
            let waited = lease.since().saturating_duration_since(member.request.arrived);
            Evidence { wait_ms: u32::try_from(waited.as_millis()).unwrap_or(u32::MAX), ..evidence }
        };
        let guards: Vec<_> = members.iter().map(guard).collect();
        let each = members.iter().zip(&guards);
        let joined: Vec<_> =
            each.map(|(member, lock)| Joined { request: &member.request, lock: *lock }).collect();
        let section = async {
            match together(&app.db, &joined, None, prepared).await {
                // No longer than the first of them may.
                Err(Failed::WouldWait) => {
                    let needed = keys.as_slice().iter().filter(|key| all_need(&members, key));
                    let needed: Vec<_> = needed.cloned().collect();
                    let deadline = first_deadline(&members, app.locks.longest_wait()).unwrap_or(started);
                    let left = deadline.saturating_duration_since(Instant::now());
                    let mut waits = pin!(together(&app.db, &joined, Some(left), Prepared::default()));
                    let mut look = tokio::time::interval(app.locks.look_every());
                    loop {
                        tokio::select! {
                            biased;
                            _ = look.tick() => {
                                sections.state().let_others_pass(&app, ticket, &keys, &needed);
                            }
                            ended = &mut waits => break ended,
                        }
                    }
                }
                ended => ended,
            }
        };
        let timed = async { (section.await, started.elapsed()) };
        let (ended, database) = lease.release_after(timed).await;
        sections.metrics.transactions.observe(database.as_secs_f64());
        for member in &members {
            member.tell(since, (started, database), members.len(), evidence, ended.is_err());
        }
        drop(joined);
        answer(members, &guards, database, ended, app.locks.longest_wait());
    }

    /// Waits for the place to be served, and for a slot. None if all have left.
    async fn served(
        &self,
        app: &App,
        ticket: u64,
        call: &Notify,
        empty: &CancellationToken,
    ) -> Option<(Turn, OwnedSemaphorePermit)> {
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
            Ok(slot) => Some((self.take_turn(ticket)?, slot)),
            Err(TooLong) => {
                self.turn_away(app, ticket, &LockError::Overloaded, |_| true);
                None
            }
        }
    }

    /// Takes the lease, while its transaction is begun. If it has to wait for others, it lets go of that and of its slot. None
    /// if all have left.
    async fn taken(
        app: &Arc<App>,
        ticket: u64,
        turn: &mut Turn,
        slot: OwnedSemaphorePermit,
        empty: &CancellationToken,
    ) -> Option<(TakenOrNot, Prepared)> {
        let (sections, beginning) = (&app.sections, app.clone());
        let begin = async move { beginning.db.in_time(beginning.db.begin()).await.flatten() };
        let mut prepared = Prepared { slot: Some(slot), tx: Some(app.tasks.spawn(begin)) };
        loop {
            let deadline = sections.deadline(ticket, app.locks.longest_wait())?;
            let mut waits = |key: &LockKey| {
                let may = sections.all_need(ticket, key);
                if may {
                    prepared = Prepared::default();
                    let mut state = sections.state();
                    let of_it = state.open.get(&ticket).map(|open| open.keys.clone());
                    of_it.iter().for_each(|of_it| {
                        state.let_others_pass(app, ticket, of_it, std::slice::from_ref(key));
                    });
                }
                may
            };
            match turn.take(deadline, empty, &mut waits).await {
                Ok(taken) => return Some((taken, prepared)),
                Err(error) if Instant::now() >= deadline => sections.expire(app, ticket, &error),
                Err(LockError::Busy { key, .. }) => Self::split(app, ticket, turn, &key),
                Err(LockError::CallerGone | LockError::Overloaded) => return None,
            }
        }
    }
}

/// When the first of these requests has waited too long; none if there are none.
fn first_deadline(members: &[Member], wait: Duration) -> Option<Instant> {
    members.iter().map(|member| member.request.arrived + wait).min()
}

/// Closes a section when dropped.
struct Closes<'a> {
    app: &'a App,
    ticket: u64,
}

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.app.sections.close(self.ticket);
        self.app.sections.state().leave_round(self.ticket);
    }
}

/// Tells each what became of it. Whoever is gone does not need to know.
fn answer(
    members: Vec<Member>,
    guards: &[Evidence],
    database: Duration,
    ended: Result<Answers, Failed>,
    wait: Duration,
) {
    match ended {
        Ok(answers) => {
            for ((member, lock), answer) in members.into_iter().zip(guards).zip(answers) {
                let answered = |answer: Answer| Outcome::Answered(answer.guarded(*lock, database));
                let _gone = member.answer.send(answer.map_or_else(Outcome::Left, answered));
            }
        }
        Err(Failed::ForAll(error)) => {
            // A row was waited for as long as the first of them may wait. Whoever came later has time left.
            let has_time = |member: &Member| {
                matches!(error, DbError::RowLocked(_)) && member.request.arrived.elapsed() < wait
            };
            for member in members {
                let outcome = if has_time(&member) {
                    Outcome::Left(Left::Alone)
                } else {
                    Outcome::Failed(error.repeated())
                };
                let _gone = member.answer.send(outcome);
            }
        }
        Err(ended) => {
            if let Failed::Nothing(error) = ended {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    section.requests = members.len(),
                    error,
                    "a shared section failed; its requests run alone"
                );
            }
            for member in members {
                let _gone = member.answer.send(Outcome::Left(Left::Alone));
            }
        }
    }
}
