//! Claims a lease: the door to strangers in Redis → begin → row lock → rule → fence → commit → shadow. Refuses what
//! somebody holds, in Postgres or, as another program does, in Redis.

use std::time::Duration;

use sqlx::PgConnection;

use super::model::{Fence, Granted, Holder, LeaseName, LeaseTtl};
use super::rules::{Decision, decide};
use super::{Leases, store};
use crate::db::{Db, DbError};
use crate::ids;
use crate::locks::shadow::Cast;
use crate::locks::timing::PLACE_HOLDER_TTL;
use crate::text::LeaseOwner;

/// A claim that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of what.
    pub name: &'a LeaseName,
    /// For whom. It tells one claimer from another: two that share it share the claim.
    pub owner: &'a LeaseOwner,
    /// For how long.
    pub ttl: LeaseTtl,
    /// What its owner gets that holds it already.
    pub again: Again,
}

/// What an owner gets that claims what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The claim it has, renewed: for owners that repeat a claim whose answer was lost.
    SameClaim,
    /// A refusal, as anyone else.
    Refused,
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is granted.
    Granted(Granted),
    /// Somebody holds it.
    HeldBy(Holder),
    /// Another program holds its key in Redis. Nothing was written.
    HeldByStranger,
}

/// Redis, asked before a claim: no stranger holds the key, and while the claim is made none takes it.
#[derive(Debug)]
#[must_use = "closed by Leases::settle"]
pub struct Door {
    /// Whether a place holder of ours stands in it.
    is_ours: bool,
}

impl Leases {
    /// Claims, in a transaction of its own.
    ///
    /// # Errors
    /// [`DbError`]. Whether a commit under way took place is not known; the same owner's next claim tells.
    pub async fn claim(&self, db: &Db, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
        let Some(door) = self.ask_strangers(wanted.name).await else { return Ok(Claimed::HeldByStranger) };
        let claimed = alone(db, wanted).await;
        self.settle(door, wanted, claimed.as_ref().ok()).await;
        claimed
    }

    /// Before the transaction: `None` if another program holds the key. Else a place holder keeps others out.
    /// Only a Redis that loses it lets a stranger in before the claim's shadow is cast, as it may lose that one at any
    /// time; the claim stands then, for its truth is the row.
    pub async fn ask_strangers(&self, name: &LeaseName) -> Option<Door> {
        match self.locks.cast_shadow(name.as_str(), 0, &ids::token(), PLACE_HOLDER_TTL).await {
            Some(Cast::Stranger) => {
                self.metrics.strangers(name.class()).inc();
                None
            }
            cast => Some(Door { is_ours: cast == Some(Cast::Done) }),
        }
    }

    /// After the transaction, whatever came of it: casts the shadow of the claim that was granted, or takes the place
    /// holder away.
    pub async fn settle(&self, door: Door, wanted: &Wanted<'_>, claimed: Option<&Claimed>) {
        let class = wanted.name.class();
        if let Some(Claimed::Granted(granted)) = claimed {
            self.metrics.granted(class).inc();
            self.metrics.takeovers(class).inc_by(u64::from(granted.took_over));
            self.cast(wanted.name, granted, wanted.ttl).await;
            return;
        }
        if claimed.is_some() {
            self.metrics.refused(class).inc();
        }
        if door.is_ours {
            self.fade(wanted.name, Fence(0)).await;
        }
    }

    /// Shows in Redis who holds the lease.
    pub(super) async fn cast(&self, name: &LeaseName, granted: &Granted, ttl: LeaseTtl) {
        self.show(name, granted.fence, &granted.token, ttl.duration()).await;
    }

    /// The same for a claim that was renewed elsewhere: called after the commit.
    pub(crate) async fn show(&self, name: &LeaseName, fence: Fence, token: &str, ttl: Duration) {
        let cast = self.locks.cast_shadow(name.as_str(), fence.0, token, ttl).await;
        if cast == Some(Cast::Stranger) {
            tracing::warn!(
                lease.name = name.as_str(),
                "another program took a lease's key, which Redis had lost"
            );
        }
    }
}

async fn alone(db: &Db, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
    let mut tx = db.begin().await?;
    let claimed = claim_in_tx(&mut tx, wanted).await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Locks the lease's row, waiting for the writes under it, decides, and grants.
///
/// # Errors
/// [`DbError`].
pub async fn claim_in_tx(conn: &mut PgConnection, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
    let Wanted { name, owner, ttl, again } = *wanted;
    store::make_or_lock_in_tx(conn, name, owner.as_str()).await?;
    let found = store::find(conn, name).await?.ok_or(DbError::Unexpected(sqlx::Error::RowNotFound))?;
    Ok(match decide(&found.newest, owner.as_str(), again) {
        Decision::Grant { took_over } => {
            let granted = store::grant_in_tx(conn, name, owner.as_str(), ttl, &ids::token()).await?;
            Claimed::Granted(Granted { took_over, ..granted })
        }
        Decision::Keep => Claimed::Granted(store::renew_in_tx(conn, name, ttl, None).await?),
        Decision::Refuse => Claimed::HeldBy(found.holder()),
    })
}
