//! One transaction for all requests of a section: claims → row locks → each decided in turn → writes → answers kept →
//! commit.
//!
//! What must stay true: each request is decided by the rule it would be decided by alone, on the level that the one
//! before it left; a refusal is an answer and stops nobody; nobody is answered before the commit returned. What one
//! request alone can be told (a key used before for something else, a variant that is not there) is left to it alone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::http::StatusCode;
use sqlx::PgConnection;
use uuid::Uuid;

use super::share::{Request, Work};
use crate::db::{Db, DbError};
use crate::http::answer::Answer;
use crate::idempotency::{self, Claim, IdempotencyError, Refuses};
use crate::inventory::ledger::Ledger;
use crate::inventory::model::{Movement, Witness};
use crate::inventory::store as stock;
use crate::locks::{Evidence, LockKey, LockKeys};
use crate::orders::model::Order;
use crate::orders::place;
use crate::orders::rules::Offered;
use crate::orders::store::{NewOrder, insert_orders_in_tx, read_catalogue_in_tx};

/// How long a section with a slot waits for the first request with one of its keys, which runs elsewhere. Then it is left
/// to whoever repeats it.
const CLAIM_WAIT: Duration = Duration::from_millis(50);

/// A request of the section, and how it was guarded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined<'a> {
    pub(super) request: &'a Request,
    pub(super) lock: Evidence,
}

/// Why nobody has an answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// All have to be told: there is no database to be had, or whether the commit took place is not known.
    ForAll(DbError),
    /// Nothing was done, maybe because of one of them.
    Nothing(DbError),
    /// Nothing was done, for they would have to wait for a row.
    WouldWait,
}

impl Failed {
    /// What came to an end before the commit: with the database, for all; else it may be due to one of them.
    fn inside(error: DbError) -> Self {
        match error {
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
}

/// Carries out all of `joined`. Who has no answer then, runs alone. Waits for a row only if it `may_wait`.
pub(super) async fn together(
    db: &Db,
    joined: &[Joined<'_>],
    may_wait: bool,
) -> Result<Vec<Option<Answer>>, Failed> {
    if joined.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = db.begin().await.map_err(Failed::ForAll)?;
    let answers = all_in_tx(&mut tx, joined, may_wait).await?;
    tx.commit().await.map_err(|error| Failed::ForAll(error.into()))?;
    Ok(answers)
}

async fn all_in_tx(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    may_wait: bool,
) -> Result<Vec<Option<Answer>>, Failed> {
    let mut answers: Vec<Option<Answer>> = joined.iter().map(|_| None).collect();
    let running = claim(conn, joined, may_wait, &mut answers).await.map_err(Failed::inside)?;
    let Locked { mut ledger, catalogue, cancelled, placed } = lock(conn, joined, &running, may_wait).await?;
    let mut decided: Vec<(usize, Decided)> = Vec::with_capacity(running.len());
    let mut freed = Vec::new();
    for index in running {
        let is_cancelled = cancelled.contains(&index);
        let outcome = match placed.contains(&index) {
            true => None,
            false => decide(&joined[index], &mut ledger, &catalogue, is_cancelled),
        };
        match outcome {
            Some(outcome) => decided.push((index, outcome)),
            None => freed.extend(joined[index].request.claim()),
        }
    }
    write(conn, joined, ledger, decided, &mut answers).await.map_err(Failed::inside)?;
    let kept: Vec<_> = joined
        .iter()
        .zip(&answers)
        .filter_map(|(joined, answer)| Some((joined.request.claim()?, answer.as_ref()?)))
        .filter(|(_, answer)| !answer.is_replayed())
        .collect();
    idempotency::finish_all_in_tx(conn, &kept, &freed).await.map_err(Failed::inside)?;
    Ok(answers)
}

/// Claims the keys. Gives who has still to be carried out; of two with one key the second is not, for it waits for the
/// first.
async fn claim(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    may_wait: bool,
    answers: &mut [Option<Answer>],
) -> Result<Vec<usize>, DbError> {
    let mut seen = HashSet::new();
    let (mut running, mut claiming) = (Vec::with_capacity(joined.len()), Vec::new());
    for (index, joined) in joined.iter().enumerate() {
        match joined.request.claim() {
            None => running.push(index),
            Some(claim) if seen.insert((&claim.scope, &claim.key)) => claiming.push((index, claim)),
            Some(_) => {}
        }
    }
    let limit = (!may_wait).then_some(CLAIM_WAIT);
    let claims: Vec<&Claim> = claiming.iter().map(|(_, claim)| *claim).collect();
    let found = match idempotency::begin_all_in_tx::<ClaimError>(conn, &claims, limit).await {
        Err(ClaimError::Db(error)) => return Err(error),
        Err(ClaimError::Idempotency(error)) => {
            return Err(DbError::RowLocked(sqlx::Error::Protocol(error.to_string())));
        }
        Ok(found) => found,
    };
    for ((index, _), found) in claiming.into_iter().zip(found) {
        match found {
            Ok(None) => running.push(index),
            Ok(Some(first)) => answers[index] = Some(first),
            // It is told alone.
            Err(_) => {}
        }
    }
    running.sort_unstable();
    Ok(running)
}

#[derive(Debug, thiserror::Error)]
enum ClaimError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Idempotency(#[from] IdempotencyError),
}

/// What a section decides on.
struct Locked<'a> {
    ledger: Ledger<'a>,
    catalogue: HashMap<Uuid, Offered>,
    /// Whose orders were cancelled before they came.
    cancelled: HashSet<usize>,
    /// Whose orders were placed so long ago that their answers are forgotten.
    placed: HashSet<usize>,
}

/// Locks the rows that those still to be carried out need, and reads what their orders are made of.
async fn lock<'a>(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    running: &[usize],
    may_wait: bool,
) -> Result<Locked<'a>, Failed> {
    let requests: Vec<_> = running.iter().map(|index| joined[*index].request).collect();
    let ids = LockKeys::variant_ids_of(requests.iter().map(|request| request.keys()));
    // Only what all of them need is worth a wait, and is waited for first: nobody waits who has locked a row out of order.
    let all_need = |id: &Uuid| {
        let key = LockKey::Inventory(*id);
        requests.iter().all(|request| request.keys().contains(&key))
    };
    let mut levels = HashMap::new();
    let mut rest = ids;
    if may_wait {
        let needed: Vec<_> = rest.extract_if(.., |id| all_need(id)).collect();
        levels = stock::lock_levels_in_tx(conn, &needed).await.map_err(|error| match error {
            DbError::RowLocked(_) => Failed::ForAll(error),
            error => Failed::inside(error),
        })?;
    }
    if !rest.is_empty() {
        levels.extend(stock::lock_free_levels_in_tx(conn, &rest).await.map_err(Failed::inside)?);
    }
    if !may_wait && rest.iter().any(|id| !levels.contains_key(id) && all_need(id)) {
        return Err(Failed::WouldWait);
    }
    let ledger = Ledger::over(levels.into_values());

    let placing = |index: &usize| match &joined[*index].request.work {
        Work::Place(placing) => Some((*index, placing)),
        Work::Change(_) => None,
    };
    let placing: Vec<_> = running.iter().filter_map(placing).collect();
    if placing.is_empty() {
        let (catalogue, cancelled, placed) = Default::default();
        return Ok(Locked { ledger, catalogue, cancelled, placed });
    }
    let wanted = LockKeys::variant_ids_of(placing.iter().map(|(index, _)| joined[*index].request.keys()));
    let claims: Vec<_> = placing.iter().map(|(_, placing)| &placing.claim).collect();
    let read = read_catalogue_in_tx(conn, &wanted, &claims).await.map_err(Failed::inside)?;
    let whose =
        |places: Vec<usize>| places.into_iter().filter_map(|place| Some(placing.get(place)?.0)).collect();
    let (cancelled, placed) = (whose(read.cancelled), whose(read.placed));
    Ok(Locked { ledger, catalogue: read.catalogue, cancelled, placed })
}

/// Decides on one request. None if it has to run alone.
fn decide<'a>(
    joined: &Joined<'a>,
    ledger: &mut Ledger<'a>,
    catalogue: &HashMap<Uuid, Offered>,
    is_cancelled: bool,
) -> Option<Decided> {
    let caller = &joined.request.caller;
    let witness =
        Witness { subject: &caller.principal.subject, request_id: &caller.request_id, lock: joined.lock };
    let refusal = match &joined.request.work {
        Work::Change(change) => {
            let number = ledger.decided();
            match ledger.decide(change.variant_id, change.change, change.occasion.clone(), witness) {
                Ok(()) => return Some(Decided::Moved(number)),
                Err(refusal) => refusal.problem(),
            }
        }
        Work::Place(placing) => match place::decide(&placing.cmd, catalogue, is_cancelled, ledger, witness) {
            Ok(order) => return Some(Decided::Ordered(Box::new(order))),
            Err(error) => error.problem(),
        },
    };
    let is_kept = refusal.code.is_refusal();
    is_kept
        .then(|| Decided::Answer(Answer::stored(refusal.code.status(), refusal.render(&caller.request_id))))
}

/// Writes all orders, movements and levels, and makes the answers.
async fn write(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    ledger: Ledger<'_>,
    mut decided: Vec<(usize, Decided)>,
    answers: &mut [Option<Answer>],
) -> Result<(), DbError> {
    let new = |(index, decided): &'_ (usize, Decided)| match (decided, &joined[*index].request.work) {
        (Decided::Ordered(_), Work::Place(placing)) => Some((*index, &placing.claim)),
        _ => None,
    };
    let orders: Vec<_> = decided
        .iter()
        .filter_map(|entry| {
            let (index, claim) = new(entry)?;
            let Decided::Ordered(order) = &entry.1 else { return None };
            let caller = &joined[index].request.caller;
            let witness = Witness {
                subject: &caller.principal.subject,
                request_id: &caller.request_id,
                lock: joined[index].lock,
            };
            Some(NewOrder { order, claim, witness })
        })
        .collect();
    let placed_at = match orders.as_slice() {
        [] => None,
        orders => Some(insert_orders_in_tx(conn, orders).await?),
    };
    drop(orders);
    let movements = ledger.write_in_tx(conn).await?;
    for (index, decided) in decided.drain(..) {
        answers[index] = match decided {
            Decided::Answer(answer) => Some(answer),
            Decided::Moved(number) => movements.get(number).map(moved),
            Decided::Ordered(mut order) => {
                order.placed_at = placed_at.unwrap_or_default();
                Some(Answer::json(StatusCode::CREATED, &order))
            }
        };
    }
    Ok(())
}

fn moved(movement: &Movement) -> Answer {
    Answer::json(StatusCode::OK, movement)
}
