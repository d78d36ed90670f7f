//! Ends a claim: by its owner, or by an operator. Waits for the writes under it that are under way; after it there is
//! none. Refuses a claim that was followed by another or never was; to release twice is the same answer.

use sqlx::PgConnection;

use super::model::{Ending, Fence, LeaseError, LeaseName};
use super::{Leases, rules, store};
use crate::db::{Db, DbError};
use crate::locks::shadow;

impl Leases {
    /// Releases, in a transaction of its own.
    ///
    /// # Errors
    /// [`LeaseError`], but never that it has ended.
    pub async fn release(&self, db: &Db, name: &LeaseName, fence: Fence) -> Result<(), LeaseError> {
        let mut tx = db.begin().await?;
        release_in_tx(&mut tx, name, fence).await?;
        tx.commit().await.map_err(DbError::from)?;
        self.fade(name, fence).await;
        Ok(())
    }

    /// After the commit of whatever ended the claim of `fence`: takes its shadow away. One that stays, because Redis
    /// failed, keeps only other programs out, until the next claim or its TTL.
    pub async fn fade(&self, name: &LeaseName, fence: Fence) {
        self.locks.fade_shadow(name.as_str(), fence.0).await;
    }
}

/// Releases. Once the transaction is committed, [`Leases::fade`] takes the shadow away.
///
/// # Errors
/// [`LeaseError`], but never that it has ended.
pub async fn release_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
    fence: Fence,
) -> Result<(), LeaseError> {
    match end_in_tx(conn, name, fence, Ending::Released, None).await {
        Err(LeaseError::Ended(_)) => Ok(()),
        released => released,
    }
}

/// Ends the claim of `fence`, if it stands.
pub(super) async fn end_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
    fence: Fence,
    ending: Ending,
    reason: Option<&str>,
) -> Result<(), LeaseError> {
    rules::stands(store::lock_to_end_in_tx(conn, name).await?, fence)?;
    Ok(store::end_in_tx(conn, name, ending, reason).await?)
}

/// A claim that was ended by hand.
#[derive(Debug)]
pub(crate) struct EndedByHand {
    /// What it was shown as.
    pub(crate) token: String,
    /// Its lease.
    pub(crate) name: LeaseName,
    /// Its fence.
    pub(crate) fence: Fence,
}

/// Ends the claim of the lease of this name, whoever's it is. `None` if there is no such lease, or nobody has it: one whose
/// time is over keeps nobody out.
pub(crate) async fn end_by_hand_in_tx(
    conn: &mut PgConnection,
    name: &str,
) -> Result<Option<EndedByHand>, DbError> {
    let Ok(name) = LeaseName::try_from(name.to_owned()) else { return Ok(None) };
    // Read first, for what has ended is not locked: the caller asks Redis then.
    let is_over = |found: store::Found| found.newest.ending.is_some() || found.newest.left_ms <= 0;
    if store::find(conn, &name).await?.is_none_or(is_over) {
        return Ok(None);
    }
    let Some((fence, None)) = store::lock_to_end_in_tx(conn, &name).await? else { return Ok(None) };
    store::end_in_tx(conn, &name, Ending::ByHand, None).await?;
    let found = store::find(conn, &name).await?.ok_or(DbError::Unexpected(sqlx::Error::RowNotFound))?;
    Ok(Some(EndedByHand { token: shadow::token_of(fence.0, &found.token), name, fence }))
}
