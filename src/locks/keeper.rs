//! The background side of the Redis layer: beating, renewing leases, probing an open breaker, deleting orphans,
//! hearing wake-ups, telling of changes of mode.
//!
//! What must stay true: only this module asks Redis while the breaker is open, at most about once a probe
//! interval; and the breaker closes only after the orphans that are remembered are gone.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::breaker::BreakerState;
use super::claim::{Claim, fits_a_cluster};
use super::layer::{Layer, jittered};
use super::owners::ASK;
use super::timing::BEAT;
use super::{LockMode, Locks, ModeChange};

/// Orphans remembered at most; more are left to their TTL.
const MAX_ORPHANS: usize = 10_000;
/// How long the wake-ups may be silent before it is asked whether anyone is there.
const SILENCE: Duration = Duration::from_secs(2);
/// Pause between the first good probe and the one that closes the breaker.
const SECOND_LOOK: Duration = Duration::from_millis(100);
/// The most lines whose length one beat tells.
const LINES_TOLD: usize = 1_000;
/// Questions about tokens of ours that wait to be answered; more are not heard.
const QUESTIONS_MAX: usize = 1_000;
/// Changes of mode that wait to be told while Redis is away.
const CHANGES_KEPT: usize = 100;
/// Where changes of mode are told to whoever listens.
const NOTIFICATIONS: &str = "global:notifications";

impl Locks {
    /// Looks after the Redis layer until `stopped`. Does nothing without one.
    pub async fn keep(self, stopped: CancellationToken) {
        let Some(layer) = &self.0.layer else { return };
        let interval = self.0.timing.breaker_probe;
        let working = async {
            tokio::join!(
                layer.watch(interval),
                layer.hear_wake_ups(interval),
                self.beat(layer),
                layer.renew_leases(&self.0.timing),
                layer.tell_of_changes(),
            )
        };
        tokio::select! {
            () = stopped.cancelled() => {}
            _ = working => {}
        }
    }

    /// Asks Redis once whether it can be written, and opens the breaker if not: called at start, so that
    /// no request pays for a Redis that was never there.
    pub async fn look_once(&self) {
        let Some(layer) = &self.0.layer else { return };
        if let Err(fault) = layer.redis.probe(&layer.replica).await {
            layer.breaker.open(&fault.describe());
        }
    }

    /// Says again and again that this replica lives and who waits in it. One that stops is taken to be dead, and its
    /// keys are free: if it was only slow, the row lock makes that harmless. A beat is a script like a take, so a
    /// Redis that refuses scripts fails here too.
    async fn beat(&self, layer: &Layer) {
        loop {
            if layer.breaker.state() == BreakerState::Closed {
                match layer.redis.beat(&layer.replica, &self.waiting_here(layer, LINES_TOLD)).await {
                    Ok(()) => layer.breaker.succeeded(),
                    Err(fault) => layer.count(&fault),
                }
            }
            tokio::time::sleep(BEAT).await;
        }
    }
}

impl Layer {
    /// Remembers a claim that Redis may hold without anyone owning it.
    pub(super) fn orphan(&self, claim: Arc<Claim>) {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        if orphans.len() < MAX_ORPHANS {
            orphans.push_back(claim);
        }
        drop(orphans);
        self.stirred.notify_one();
    }

    /// While closed, sweeps orphans as they come; from the moment it opens, probes at the interval.
    async fn watch(&self, interval: Duration) {
        let mut changes = self.breaker.changes();
        loop {
            if self.breaker.state() != BreakerState::Closed {
                tokio::time::sleep(jittered(interval)).await;
                self.probe_twice().await;
                continue;
            }
            tokio::select! {
                // Whatever it was: the state tells.
                _ = changes.recv() => {}
                () = self.stirred.notified() => {
                    if !self.sweep().await && self.breaker.state() == BreakerState::Closed {
                        tokio::select! {
                            _ = changes.recv() => {}
                            () = tokio::time::sleep(jittered(interval)) => self.stirred.notify_one(),
                        }
                    }
                }
            }
        }
    }

    /// Two good probes, with the orphans swept between them, close the breaker.
    async fn probe_twice(&self) {
        for _ in 0..2 {
            if let Err(fault) = self.redis.probe(&self.replica).await {
                self.breaker.probe_failed(&fault.describe());
                return;
            }
            if !self.sweep().await {
                self.breaker.probe_failed("orphans could not be swept");
                return;
            }
            if self.breaker.probe_succeeded() == BreakerState::Closed {
                return;
            }
            tokio::time::sleep(SECOND_LOOK).await;
        }
    }

    /// Deletes what unanswered takes may have left, oldest first. Each is deleted twice: a hung Redis that
    /// wakes runs what had been sent to it in one turn of its loop, and the first delete may come before the
    /// take in that turn; the second is sent only after the first was answered, so it comes after all of them.
    async fn sweep(&self) -> bool {
        loop {
            let next = self.orphans.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(claim) = next else { return true };
            for _ in 0..2 {
                if self.redis.release(&claim, &[]).await.is_err() {
                    self.orphans.lock().unwrap_or_else(PoisonError::into_inner).push_back(claim);
                    return false;
                }
            }
        }
    }

    /// Hears who is called, on one connection, made anew when it is lost or silent. Questions are answered beside it:
    /// nobody's turn waits for Redis to answer one.
    async fn hear_wake_ups(&self, interval: Duration) {
        let (questions, mut asked) = mpsc::channel::<(String, String)>(QUESTIONS_MAX);
        let answering = async {
            while let Some((token, name)) = asked.recv().await {
                self.answer(&token, name).await;
            }
        };
        tokio::join!(self.hear_all(interval, questions), answering);
    }

    async fn hear_all(&self, interval: Duration, questions: mpsc::Sender<(String, String)>) {
        loop {
            if self.breaker.state() == BreakerState::Closed
                && let Ok(wake_ups) = self.redis.subscribe(&self.replica).await
            {
                let (mut asking, mut messages) = wake_ups.split();
                loop {
                    tokio::select! {
                        message = messages.next() => match message {
                            Some(message) => self.hear(&message, &questions),
                            None => break,
                        },
                        () = tokio::time::sleep(SILENCE) => {
                            let heard = tokio::time::timeout(SILENCE, asking.ping::<redis::Value>()).await;
                            if !matches!(heard, Ok(Ok(_))) || self.breaker.state() != BreakerState::Closed {
                                break;
                            }
                        }
                    }
                }
            }
            // Until then the poll carries the wait.
            tokio::time::sleep(jittered(interval)).await;
        }
    }

    /// A waiter's turn has come, or somebody waits for a token of ours and doubts that we hold it.
    fn hear(&self, message: &redis::Msg, questions: &mpsc::Sender<(String, String)>) {
        let Ok(text) = message.get_payload::<String>() else { return };
        let Some(question) = text.strip_prefix(ASK) else {
            if let Some(waiter) = self.waiters().get(text.as_str()) {
                waiter.notify_one();
            }
            return;
        };
        let Some((token, name)) = question.trim_start().split_once(' ') else { return };
        // Whoever still waits asks again.
        let _heard = questions.try_send((token.to_owned(), name.to_owned()));
    }

    async fn answer(&self, token: &str, name: String) {
        if self.redis.is_cluster() && !fits_a_cluster(&name) {
            return;
        }
        let asked = Claim::of_names(vec![name], token.into());
        if let Err(fault) = self.disown(token, &asked).await {
            self.count(&fault);
        }
    }

    /// Publishes every change of mode, in order, once Redis is there to publish it: the one that a start without Redis
    /// makes too, which comes before this runs.
    async fn tell_of_changes(&self) {
        let (mut untold, mut changes) = self.breaker.all_changes();
        loop {
            while self.breaker.state() == BreakerState::Closed
                && let Some(change) = untold.front()
                && self.redis.publish(NOTIFICATIONS, &self.notice_of(change)).await.is_ok()
            {
                untold.pop_front();
            }
            let heard = tokio::select! {
                heard = changes.recv() => heard,
                () = tokio::time::sleep(BEAT), if !untold.is_empty() => continue,
            };
            match heard {
                Ok(change) => untold.push_back(change),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            }
            if untold.len() > CHANGES_KEPT {
                untold.pop_front();
            }
        }
    }

    fn notice_of(&self, change: &ModeChange) -> String {
        let message = match change.mode {
            LockMode::TwoLayer => "Locks are two-layer again.",
            LockMode::DatabaseOnly => "Redis can't be used; locks are database-only. Answers stay correct.",
        };
        let data =
            json!({"replica": &self.replica[..8], "at": change.at, "mode": change.mode, "why": change.why});
        json!({"type": "lock.mode_changed", "message": message, "data": data}).to_string()
    }
}
