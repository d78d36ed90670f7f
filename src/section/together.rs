//! One transaction for all requests of a section: claims → row locks → each decided in turn → writes → answers kept →
//! commit.
//!
//! What must stay true: each request is decided by the rule it would be decided by alone, on the level that the one
//! before it left; a refusal is an answer and stops nobody; nobody is answered before the commit returned. What one
//! request alone can be told (a key used before for something else, a variant that is not there) is left to it alone.

use std::collections::HashSet;
use std::time::Duration;

use axum::http::StatusCode;
use sqlx::{Connection, PgConnection};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::rows::{self, Rows};
use super::share::{Request, Work};
use crate::db::{Db, DbError, ROW_LOCK_TIMEOUT_MIN, Tx};
use crate::holds::capture;
use crate::holds::model::Hold;
use crate::http::answer::Answer;
use crate::idempotency::{self, Begun, Claim, IN_HAND_WAIT, Refuses};
use crate::inventory::ledger::Ledger;
use crate::inventory::model::{Movement, Witness};
use crate::locks::Evidence;
use crate::orders::model::Order;
use crate::orders::states::Actor;
use crate::orders::store::{NewOrder, insert_orders_in_tx};
use crate::orders::{cancel, place};

/// How long a section waits that has found some of its keys in hand, to find out which they are.
const FOUND_IN_HAND_WAIT: Duration = ROW_LOCK_TIMEOUT_MIN;
/// How often: one of 256, and a few more.
const CLAIM_WAITS_MAX: usize = 12;

/// A request of the section, and how it was guarded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined<'a> {
    pub(super) request: &'a Request,
    pub(super) lock: Evidence,
}

impl<'a> Joined<'a> {
    fn witness(&self) -> Witness<'a> {
        let caller = &self.request.caller;
        Witness {
            subject: &caller.principal.subject,
            request_id: &caller.request_id,
            traceparent: caller.trace.request(),
            lock: self.lock,
        }
    }
}

/// What a section has once it may begin: until it commits, or has to wait for others.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) slot: Option<OwnedSemaphorePermit>,
    /// Its transaction, if that is begun while Redis is asked for the lease: a task, for nothing that talks to Postgres is
    /// cancelled.
    pub(super) tx: Option<JoinHandle<Result<Tx, DbError>>>,
}

/// Why a request has no answer by its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It is to run alone.
    Alone,
    /// Its key is in hand: of another in the section, or elsewhere.
    InHand,
}

/// What became of each request.
pub(super) type Answers = Vec<Result<Answer, Left>>;

/// Why nobody has an answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// All have to be told: there is no database to be had, or whether the commit took place is not known.
    ForAll(DbError),
    /// Nothing was done, maybe because of one of them.
    Nothing(DbError),
    /// Nothing was done, for they would have to wait for a row, or for a key.
    WouldWait,
}

impl Failed {
    /// What came to an end before the commit: with the database, for all; else it may be due to one of them, as when a
    /// statement takes too long.
    pub(super) fn inside(error: DbError) -> Self {
        match error {
            error if error.took_too_long() => Self::Nothing(error),
            DbError::Unavailable(_) => Self::ForAll(error),
            error => Self::Nothing(error),
        }
    }
}

/// What a section has decided for one request and not written yet.
enum Decided {
    /// It has its answer.
    Answer(Answer),
    /// The movement of this number.
    Moved(usize),
    Ordered(Box<Order>),
    Cancelled(Box<cancel::Decided>),
    Captured(Box<(Order, Hold)>),
}

/// Carries out all of `joined`. Waits for a row only if it has a `limit` for that. Its
/// slot is free again when it commits. If Postgres says nothing more it is given up, and what became of it is not known.
pub(super) async fn together(
    db: &Db,
    joined: &[Joined<'_>],
    limit: Option<Duration>,
    prepared: Prepared,
) -> Result<Answers, Failed> {
    if joined.is_empty() {
        return Ok(Vec::new());
    }
    let ended = db.in_time(in_one_tx(db, joined, limit, prepared)).await;
    ended.unwrap_or_else(|silent| Err(Failed::ForAll(silent)))
}

async fn in_one_tx(
    db: &Db,
    joined: &[Joined<'_>],
    limit: Option<Duration>,
    Prepared { slot, tx }: Prepared,
) -> Result<Answers, Failed> {
    let begun = match tx {
        Some(begun) => begun.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into())),
        None => db.begin_within(limit).await,
    };
    let mut tx = begun.map_err(Failed::ForAll)?;
    let ended = all_in_tx(&mut tx, joined, limit.is_some()).await;
    drop(slot);
    match ended {
        Ok(answers) => {
            tx.commit().await.map_err(|error| Failed::ForAll(error.into()))?;
            Ok(answers)
        }
        Err(failed) => {
            // Before anybody tries again, who would meet its locks. A connection that fails here is closed, and so lets go.
            let _closed = tx.rollback().await;
            Err(failed)
        }
    }
}

async fn all_in_tx(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    may_wait: bool,
) -> Result<Answers, Failed> {
    let mut answers: Answers = joined.iter().map(|_| Err(Left::Alone)).collect();
    let running = claim(conn, joined, may_wait, &mut answers).await?;
    let mut rows = rows::lock(conn, joined, &running, may_wait).await?;
    let mut decided: Vec<(usize, Decided)> = Vec::with_capacity(running.len());
    let mut freed = Vec::new();
    for index in running {
        match decide(index, &joined[index], &mut rows) {
            Some(outcome) => decided.push((index, outcome)),
            None => freed.extend(joined[index].request.claim()),
        }
    }
    let ledger = rows.ledger;
    write(conn, joined, ledger, decided, &mut answers).await.map_err(Failed::inside)?;
    let kept: Vec<_> = joined
        .iter()
        .zip(&answers)
        .filter_map(|(joined, answer)| Some((joined.request.claim()?, answer.as_ref().ok()?)))
        .filter(|(_, answer)| !answer.is_replayed())
        .collect();
    idempotency::finish_all_in_tx(conn, &kept, &freed).await.map_err(Failed::inside)?;
    Ok(answers)
}

/// Claims the keys. Gives who has still to be carried out; of two with one key the second is not, for it waits for the
/// first, nor is one whose key is in hand elsewhere.
async fn claim(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    may_wait: bool,
    answers: &mut [Result<Answer, Left>],
) -> Result<Vec<usize>, Failed> {
    let mut seen = HashSet::new();
    let (mut running, mut claiming) = (Vec::with_capacity(joined.len()), Vec::new());
    for (index, joined) in joined.iter().enumerate() {
        match joined.request.claim() {
            None => running.push(index),
            Some(claim) if seen.insert((&claim.scope, &claim.key)) => claiming.push((index, claim)),
            Some(_) => answers[index] = Err(Left::InHand),
        }
    }
    let found = if may_wait {
        claim_free(conn, &claiming).await?
    } else {
        claim_all(conn, &claiming, IN_HAND_WAIT).await?.ok_or(Failed::WouldWait)?
    };
    for (index, found) in found {
        match found {
            Found::Free => running.push(index),
            Found::Known(first) => answers[index] = Ok(first),
            Found::Refused => {}
            Found::InHand => answers[index] = Err(Left::InHand),
        }
    }
    running.sort_unstable();
    Ok(running)
}

/// What was found out about a key.
enum Found {
    /// It is claimed now.
    Free,
    /// The answer of its first request.
    Known(Answer),
    /// It was used for something else, which is told alone.
    Refused,
    InHand,
}

/// Claims all of these keys; none of them if one is still in hand elsewhere after `limit`.
async fn claim_all(
    conn: &mut PgConnection,
    claiming: &[(usize, &Claim)],
    limit: Duration,
) -> Result<Option<Vec<(usize, Found)>>, Failed> {
    let claims: Vec<&Claim> = claiming.iter().map(|(_, claim)| *claim).collect();
    let begun = idempotency::begin_all_in_tx(conn, &claims, limit).await.map_err(Failed::inside)?;
    let found = |begun: Begun| match begun {
        Ok(None) => Found::Free,
        Ok(Some(first)) => Found::Known(first),
        Err(_) => Found::Refused,
    };
    let indices = claiming.iter().map(|(index, _)| *index);
    Ok(begun.map(|begun| indices.zip(begun.into_iter().map(found)).collect()))
}

/// Claims those of these keys that are not in hand elsewhere. Which are is found out half by half, so that all the others
/// go on together.
async fn claim_free(
    conn: &mut PgConnection,
    claiming: &[(usize, &Claim)],
) -> Result<Vec<(usize, Found)>, Failed> {
    let failed = |error: sqlx::Error| Failed::inside(error.into());
    let (mut found, mut waits, mut left) = (Vec::new(), 0, 0);
    let mut parts = vec![claiming];
    while let Some(part) = parts.pop() {
        if part.is_empty() || waits == CLAIM_WAITS_MAX {
            left += part.len();
            continue;
        }
        let mut attempt = conn.begin().await.map_err(failed)?;
        if let Some(theirs) = claim_all(&mut attempt, part, FOUND_IN_HAND_WAIT).await? {
            attempt.commit().await.map_err(failed)?;
            found.extend(theirs);
            continue;
        }
        attempt.rollback().await.map_err(failed)?;
        waits += 1;
        match part.split_at(part.len() / 2) {
            ([], in_hand) => found.extend(in_hand.iter().map(|(index, _)| (*index, Found::InHand))),
            (some, others) => parts.extend([others, some]),
        }
    }
    if left > 0 {
        tracing::warn!(
            section.keys = claiming.len(),
            section.keys_untried = left,
            "so many keys are in hand elsewhere that those who have the rest run alone"
        );
    }
    Ok(found)
}

/// Decides on one request. None if it has to run alone.
fn decide<'a>(index: usize, joined: &Joined<'a>, rows: &mut Rows<'a>) -> Option<Decided> {
    let Joined { request, .. } = joined;
    let has_all = request.keys().variant_ids().iter().all(|id| rows.ledger.level(*id).is_some());
    if !has_all || rows.placed.contains(&index) {
        return None;
    }
    let (witness, ledger) = (joined.witness(), &mut rows.ledger);
    let is_cancelled = rows.cancelled.contains(&index);
    let refusal = match &request.work {
        Work::Change(change) => {
            let number = ledger.decided();
            match ledger.decide(change.variant_id, change.change, change.occasion.clone(), witness) {
                Ok(()) => return Some(Decided::Moved(number)),
                Err(refusal) => refusal.problem(),
            }
        }
        Work::Place(placing) => {
            match place::decide(&placing.cmd, &rows.catalogue, is_cancelled, ledger, witness) {
                Ok(order) => return Some(Decided::Ordered(Box::new(order))),
                Err(error) => error.problem(),
            }
        }
        Work::Cancel(cancelling) => {
            let order = rows.orders.get_mut(&cancelling.order_id)?;
            match cancel::decide(order.clone(), &cancelling.cmd, Actor::Api, ledger, witness) {
                Ok(decided) => {
                    order.clone_from(&decided.order);
                    return Some(Decided::Cancelled(Box::new(decided)));
                }
                Err(error) => error.problem(),
            }
        }
        Work::Capture(capturing) => {
            let hold = rows.holds.get_mut(&capturing.hold_id)?;
            match capture::decide(hold.clone(), &capturing.cmd, is_cancelled, ledger, witness) {
                Ok((order, captured)) => {
                    hold.clone_from(&captured);
                    return Some(Decided::Captured(Box::new((order, captured))));
                }
                Err(error) => error.problem(),
            }
        }
    };
    let answer = || Answer::stored(refusal.code.status(), refusal.render(&request.caller.request_id));
    refusal.code.is_refusal().then(|| Decided::Answer(answer()))
}

/// Writes all orders, movements, levels, cancellations and captures, and makes the answers.
async fn write(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    ledger: Ledger<'_>,
    decided: Vec<(usize, Decided)>,
    answers: &mut [Result<Answer, Left>],
) -> Result<(), DbError> {
    let (mut orders, mut cancelled, mut captured) = (Vec::new(), Vec::new(), Vec::new());
    for (index, decided) in &decided {
        let witness = joined[*index].witness();
        match (decided, &joined[*index].request.work) {
            (Decided::Ordered(order), Work::Place(placing)) => {
                orders.push(NewOrder { order, claim: &placing.claim, witness });
            }
            (Decided::Captured(both), Work::Capture(capturing)) => {
                let (order, hold) = &**both;
                orders.push(NewOrder { order, claim: &capturing.claim, witness });
                captured.push((hold, witness.traceparent));
            }
            (Decided::Cancelled(decided), Work::Cancel(cancelling)) => {
                cancelled.push((&**decided, &cancelling.cmd, witness));
            }
            _ => {}
        }
    }
    let placed_at = match orders.as_slice() {
        [] => None,
        orders => Some(insert_orders_in_tx(conn, orders).await?),
    };
    let movements = ledger.write_in_tx(conn).await?;
    cancel::write_in_tx(conn, &cancelled).await?;
    capture::write_in_tx(conn, &captured).await?;
    let placed = |mut order: Order| {
        order.placed_at = placed_at.unwrap_or_default();
        Answer::json(StatusCode::CREATED, &order)
    };
    for (index, decided) in decided {
        answers[index] = match decided {
            Decided::Answer(answer) => Ok(answer),
            Decided::Moved(number) => movements.get(number).map(moved).ok_or(Left::Alone),
            Decided::Ordered(order) => Ok(placed(*order)),
            Decided::Captured(both) => Ok(placed(both.0)),
            Decided::Cancelled(decided) => Ok(Answer::json(StatusCode::OK, &decided.order)),
        };
    }
    Ok(())
}

fn moved(movement: &Movement) -> Answer {
    Answer::json(StatusCode::OK, movement)
}
