//! Gives a claim its time again, though it lapsed, if nobody came. Refuses a claim that was followed by another, that
//! ended, or that never was.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::model::{Fence, Granted, LeaseError, LeaseName, LeaseTtl};
use super::{Leases, rules, store};
use crate::db::{Db, DbError};

impl Leases {
    /// Renews, from now on for `ttl`. Answers when the claim lapses.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn renew(
        &self,
        db: &Db,
        name: &LeaseName,
        fence: Fence,
        ttl: LeaseTtl,
    ) -> Result<DateTime<Utc>, LeaseError> {
        self.renew_saying(db, name, fence, ttl, None).await
    }

    /// The same, and says how far the work is.
    pub(super) async fn renew_saying(
        &self,
        db: &Db,
        name: &LeaseName,
        fence: Fence,
        ttl: LeaseTtl,
        progress: Option<i16>,
    ) -> Result<DateTime<Utc>, LeaseError> {
        let renewed = self.noticed(name, alone(db, name, fence, ttl, progress).await)?;
        self.cast(name, &renewed, ttl).await;
        Ok(renewed.expires_at)
    }
}

async fn alone(
    db: &Db,
    name: &LeaseName,
    fence: Fence,
    ttl: LeaseTtl,
    progress: Option<i16>,
) -> Result<Granted, LeaseError> {
    let mut tx = db.begin().await?;
    let renewed = renew_saying_in_tx(&mut tx, name, fence, ttl, progress).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(renewed)
}

/// Renews, in the caller's transaction. Once that is committed, the shadow is to be cast again.
///
/// # Errors
/// [`LeaseError`].
pub async fn renew_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
    fence: Fence,
    ttl: LeaseTtl,
) -> Result<Granted, LeaseError> {
    renew_saying_in_tx(conn, name, fence, ttl, None).await
}

async fn renew_saying_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
    fence: Fence,
    ttl: LeaseTtl,
    progress: Option<i16>,
) -> Result<Granted, LeaseError> {
    rules::stands(store::lock_to_renew_in_tx(conn, name).await?, fence)?;
    Ok(store::renew_in_tx(conn, name, ttl, progress).await?)
}
