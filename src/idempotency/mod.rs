//! One effect a key: the claim and its answer commit with the effect, or not at all.
//!
//! What must stay true:
//! - A claim is inserted with `ON CONFLICT DO NOTHING` and then read, never updated into being. Of two
//!   requests with one key, the second waits until the first has ended: at its row, or where it would keep others
//!   waiting there, [looking](has_ended) again and again.
//! - A committed claim has its answer, for [`begin_in_tx`] and [`finish_in_tx`], or those for many, stand around the
//!   effect in one transaction. A crash leaves nothing behind.
//! - Who uses a key for another request is refused, whether or not it can be [told](outline) where the two differ.
//! - Only what was carried out or refused by the business is remembered. Bad input, busy locks and faults
//!   leave the key free.
//!
//! The names and statuses follow the IETF draft `idempotency-key-header`; what is stored and what is not
//! follows Stripe's practice.

mod claim;
pub mod outline;
pub(crate) mod store;

use std::collections::HashSet;
use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

pub use self::claim::{Claim, Fingerprint, KeyedRequest, key_of, parse_key, subject_scope, user_scope};
use self::outline::{Difference, Outline};
use crate::db::{Db, DbError};
use crate::http::answer::Answer;
use crate::http::problem::Problem;

/// After how long a key whose answer is over is forgotten altogether: until then it is told to be expired. What placed an
/// order is known for ever, by the order.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(48 * 60 * 60);
/// How often a claim is tried that is neither free nor answered.
const CLAIM_TRIES: u32 = 3;

/// How long whoever holds what others wait for waits for a first request that is running.
pub const IN_HAND_WAIT: Duration = Duration::from_millis(50);

/// What became of a claim: none if it is ours now, else the answer that its first request had, or why it has none.
pub type Begun = Result<Option<Answer>, IdempotencyError>;

/// How a key can fail its request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdempotencyError {
    /// The call needs a key and has none.
    #[error("the idempotency key is missing")]
    Missing,
    /// The header is not one key of the right form.
    #[error("the idempotency key can't be used")]
    Invalid,
    /// The key belongs to another request, which differs in these, as far as that is known.
    #[error("the idempotency key was used for another request")]
    Reused(Vec<Difference>),
    /// The first request with this key is still running.
    #[error("the first request with this key is still running")]
    InFlight,
    /// Nobody has used this key.
    #[error("the idempotency key is unknown")]
    Unknown,
}

/// What a key's row says.
#[derive(Debug)]
pub struct Stored {
    /// What the first request was.
    pub fingerprint: Vec<u8>,
    /// The same in outline, if that was kept.
    pub outline: Option<Outline>,
    /// The status it was answered with.
    pub status: StatusCode,
    /// The bytes it was answered with.
    pub body: Vec<u8>,
    /// Whether the 24 hours for which answers are kept are over.
    pub expired: bool,
    /// When the key was first used.
    pub first_seen: DateTime<Utc>,
}

impl Stored {
    /// The stored answer, if `claim` is the same request.
    ///
    /// # Errors
    /// [`IdempotencyError::Reused`] if it is not.
    pub fn replay(self, claim: &Claim) -> Result<Answer, IdempotencyError> {
        if self.fingerprint != claim.fingerprint.0 {
            return Err(IdempotencyError::Reused(self.differences(claim)));
        }
        Ok(Answer::stored(self.status, self.body).replayed())
    }

    /// Where `claim` is another request; nothing, if that is not known.
    fn differences(&self, claim: &Claim) -> Vec<Difference> {
        let first = self.outline.as_ref();
        first.zip(claim.outline.as_ref()).map_or_else(Vec::new, |(first, other)| first.differences(other))
    }
}

/// The answer that the key's first request had, if it has ended and its answer is kept.
///
/// # Errors
/// [`IdempotencyError::Reused`], or a [`DbError`].
pub async fn known_answer<E>(db: &Db, claim: &Claim) -> Result<Option<Answer>, E>
where
    E: From<IdempotencyError> + From<DbError>,
{
    find_answer(&mut *db.read().await?, claim).await
}

/// The same over a connection that is there.
///
/// # Errors
/// As [`known_answer`].
pub async fn find_answer<E>(conn: &mut PgConnection, claim: &Claim) -> Result<Option<Answer>, E>
where
    E: From<IdempotencyError> + From<DbError>,
{
    match store::find(conn, &claim.scope, &claim.key).await? {
        Some(stored) if !stored.expired => Ok(Some(stored.replay(claim)?)),
        _ => Ok(None),
    }
}

/// Has the session keep everybody else from this key who asks so too, until it is [freed](free_for_session) or the session
/// ends; for what is done under a key in several transactions. False if somebody has it: this does not wait.
///
/// # Errors
/// A [`DbError`].
pub async fn take_for_session(conn: &mut PgConnection, claim: &Claim) -> Result<bool, DbError> {
    store::take_for_session(conn, claim).await
}

/// Undoes [`take_for_session`].
///
/// # Errors
/// A [`DbError`].
pub async fn free_for_session(conn: &mut PgConnection, claim: &Claim) -> Result<(), DbError> {
    store::free_for_session(conn, claim).await
}

/// Claims the key, or gives the answer its first request had. Waits for a first request that is running,
/// as long as the server lets a statement wait for a row.
///
/// # Errors
/// [`IdempotencyError::Reused`], [`IdempotencyError::InFlight`], or a [`DbError`].
pub async fn begin_in_tx<E>(conn: &mut PgConnection, claim: Option<&Claim>) -> Result<Option<Answer>, E>
where
    E: From<IdempotencyError> + From<DbError>,
{
    let Some(claim) = claim else { return Ok(None) };
    let mut found = claim_or_find::<E>(conn, claim).await?;
    if found.as_ref().is_some_and(|stored| stored.expired) {
        store::forget(conn, claim).await?;
        found = claim_or_find::<E>(conn, claim).await?;
    }
    match found {
        None => Ok(None),
        Some(stored) => Ok(Some(stored.replay(claim)?)),
    }
}

async fn claim_or_find<E>(conn: &mut PgConnection, claim: &Claim) -> Result<Option<Stored>, E>
where
    E: From<IdempotencyError> + From<DbError>,
{
    for _ in 0..CLAIM_TRIES {
        match store::claim(conn, claim).await {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(DbError::RowLocked(_)) => return Err(IdempotencyError::InFlight.into()),
            Err(error) => return Err(error.into()),
        }
        // Gone again only if it was forgotten in between: then the claim is ours to make.
        if let Some(stored) = store::find(conn, &claim.scope, &claim.key).await? {
            return Ok(Some(stored));
        }
    }
    Err(IdempotencyError::InFlight.into())
}

/// Claims many different keys at once, and says of each, in the same order, what [`begin_in_tx`] would: for those who hold
/// what others wait for. None, and the transaction can only be rolled back, if a first request with one of them is still
/// running after `limit`.
///
/// # Errors
/// A [`DbError`].
pub async fn begin_all_in_tx(
    conn: &mut PgConnection,
    claims: &[&Claim],
    limit: Duration,
) -> Result<Option<Vec<Begun>>, DbError> {
    let Some(mut ours) = claim_all(conn, claims, limit).await? else { return Ok(None) };
    if ours.len() == claims.len() {
        return Ok(Some(claims.iter().map(|_| Ok(None)).collect()));
    }
    let others: Vec<&Claim> = claims.iter().copied().filter(|claim| !ours.contains(&owned(claim))).collect();
    let mut stored = store::find_all(conn, &others).await?;
    // Only these: another may turn old meanwhile, whose answer has been read already.
    let over = |claim: &&Claim| stored.get(&owned(claim)).is_some_and(|stored| stored.expired);
    let old: Vec<&Claim> = others.into_iter().filter(over).collect();
    if !old.is_empty() {
        store::forget_all(conn, &old).await?;
        stored.retain(|_, stored| !stored.expired);
        let Some(again) = claim_all(conn, &old, limit).await? else { return Ok(None) };
        ours.extend(again);
    }
    let each = |claim: &&Claim| match stored.remove(&owned(claim)) {
        Some(stored) => Some(stored.replay(claim).map(Some)),
        None if ours.contains(&owned(claim)) => Some(Ok(None)),
        // It was forgotten in between: for another try.
        None => None,
    };
    Ok(claims.iter().map(each).collect())
}

/// Those that are ours now; none if one is in hand elsewhere.
async fn claim_all(
    conn: &mut PgConnection,
    claims: &[&Claim],
    limit: Duration,
) -> Result<Option<HashSet<store::Owned>>, DbError> {
    if claims.is_empty() {
        return Ok(Some(HashSet::new()));
    }
    match store::claim_all(conn, claims, limit).await {
        Err(DbError::RowLocked(_)) => Ok(None),
        ours => ours.map(Some),
    }
}

fn owned(claim: &Claim) -> store::Owned {
    (claim.scope.clone(), claim.key.clone())
}

/// Keeps the answers of claims made by [`begin_all_in_tx`], and frees the claims that are to stay free.
///
/// # Errors
/// A [`DbError`].
pub async fn finish_all_in_tx(
    conn: &mut PgConnection,
    kept: &[(&Claim, &Answer)],
    freed: &[&Claim],
) -> Result<(), DbError> {
    if !kept.is_empty() {
        store::answer_all(conn, kept).await?;
    }
    if !freed.is_empty() {
        store::free_all(conn, freed).await?;
    }
    Ok(())
}

/// Keeps everybody from claiming a key until this transaction ends, whether or not it has been used. Waits for
/// whoever is claiming it. Before a commit it must be [let go](let_go_in_tx), so that it stays as it was.
///
/// # Errors
/// A [`DbError`].
pub async fn hold_in_tx(conn: &mut PgConnection, scope: &str, key: &str) -> Result<(), DbError> {
    store::hold(conn, scope, key).await
}

/// Undoes what [`hold_in_tx`] wrote. Until the transaction ends, the key stays held.
///
/// # Errors
/// A [`DbError`].
pub async fn let_go_in_tx(conn: &mut PgConnection, scope: &str, key: &str) -> Result<(), DbError> {
    store::let_go(conn, scope, key).await
}

/// Whether a transaction that has not ended holds this key: found out by trying to claim it, not waiting,
/// and taking that back.
///
/// # Errors
/// [`DbError`].
pub async fn is_claimed_now(db: &Db, scope: &str, key: &str) -> Result<bool, DbError> {
    let mut tx = db.begin_within(Some(Duration::ZERO)).await?;
    let probe = Claim {
        scope: scope.to_owned(),
        key: key.to_owned(),
        fingerprint: Fingerprint([0; 32]),
        outline: None,
    };
    let claimed = match store::claim(&mut tx, &probe).await {
        // An answer whose time is over is nobody's claim.
        Ok(free) => !free && store::find(&mut tx, scope, key).await?.is_none_or(|there| !there.expired),
        Err(DbError::RowLocked(_)) => true,
        Err(error) => return Err(error),
    };
    tx.rollback().await?;
    Ok(claimed)
}

/// Whether the first request with this key has ended with an answer; or, if that is asked for too, without one.
///
/// # Errors
/// A [`DbError`].
pub async fn has_ended(db: &Db, claim: &Claim, or_without_answer: bool) -> Result<bool, DbError> {
    let stored = store::find(&mut *db.read().await?, &claim.scope, &claim.key).await?;
    Ok(stored.is_some_and(|stored| !stored.expired)
        || or_without_answer && !is_claimed_now(db, &claim.scope, &claim.key).await?)
}

/// An error that may be an answer worth keeping.
pub trait Refuses: From<DbError> {
    /// The error as a caller sees it.
    fn problem(&self) -> Problem;
}

/// Turns the outcome into an answer and keeps it with the claim. A refusal by the business is an answer;
/// any other error passes through, and the transaction that made the claim is not to be committed.
///
/// # Errors
/// The outcome's error unless it is a refusal, or a [`DbError`] from storing.
pub async fn finish_in_tx<T: Serialize, E: Refuses>(
    conn: &mut PgConnection,
    claim: Option<&Claim>,
    request_id: &str,
    success: StatusCode,
    outcome: Result<T, E>,
) -> Result<Answer, E> {
    let answer = match outcome {
        Ok(value) => Answer::json(success, &value),
        Err(error) => {
            let problem = error.problem();
            if !problem.code.is_refusal() {
                return Err(error);
            }
            Answer::stored(problem.code.status(), problem.render(request_id))
        }
    };
    if let Some(claim) = claim {
        store::answer(conn, claim, &answer).await?;
    }
    Ok(answer)
}
