//! Processing markers: one worker at a file, another when it crashed, and none that finishes what it has lost.
//!
//! A marker is a lease on `processing:{account_id}:{file_hash}` that also tells how far the work is and how it ended.
//! Whether a file was processed before is not its business: once finished, it may be started anew.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::claim::{Again, Claimed, Wanted};
use super::model::{Ending, Fence, Holder, LeaseError, LeaseName, LeaseTtl};
use super::release::end_in_tx;
use super::{Leases, rules, store};
use crate::db::{Db, DbError};
use crate::text::{LeaseOwner, Reason};

/// The longest account and the longest hash.
const PART_MAX_CHARS: usize = 128;

/// The marker of one file of one account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker(LeaseName);

/// What is not an account or a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an account and a file's hash are 1 to {PART_MAX_CHARS} visible ASCII characters; the hash has no colon"
)]
pub struct NotAMarker;

impl Marker {
    /// The marker of this file. A hash is the same in capitals and small letters, as it is for invoices.
    ///
    /// # Errors
    /// [`NotAMarker`].
    pub fn of(account_id: &str, file_hash: &str) -> Result<Self, NotAMarker> {
        let fits = |part: &str| {
            (1..=PART_MAX_CHARS).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_graphic())
        };
        // Without a colon in the hash, no two files have one name.
        if !fits(account_id) || !fits(file_hash) || file_hash.contains(':') {
            return Err(NotAMarker);
        }
        let file_hash = file_hash.to_ascii_lowercase();
        LeaseName::try_from(format!("processing:{account_id}:{file_hash}")).map(Self).map_err(|_| NotAMarker)
    }

    /// The lease it is.
    #[must_use]
    pub fn name(&self) -> &LeaseName {
        &self.0
    }
}

/// How far the work is: 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

/// What is not a percentage of work done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("progress is 0 to 100")]
pub struct NotAPercentage;

impl TryFrom<u8> for Percent {
    type Error = NotAPercentage;

    fn try_from(percent: u8) -> Result<Self, NotAPercentage> {
        if percent <= 100 { Ok(Self(percent)) } else { Err(NotAPercentage) }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

/// What a start came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The file is the caller's.
    Started {
        /// What it names in all it does with it.
        fence: Fence,
        /// When others may start unless it beats.
        expires_at: DateTime<Utc>,
    },
    /// Somebody is at it: who, unless it is another program.
    AlreadyRunning(Option<Holder>),
}

/// Work that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Who is at it.
    pub owner: String,
    /// Under which fence.
    pub fence: Fence,
    /// Since when.
    pub since: DateTime<Utc>,
    /// For how long it counts without another beat.
    pub expires_in: Duration,
    /// How far it is, if it said so.
    pub progress: Option<u8>,
}

impl Leases {
    /// Starts work on a file, unless somebody is at it. That may be `owner` itself: a file uploaded twice at once is
    /// worked on once.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn start(
        &self,
        db: &Db,
        marker: &Marker,
        owner: &LeaseOwner,
        ttl: LeaseTtl,
    ) -> Result<Start, DbError> {
        let wanted = Wanted { name: &marker.0, owner, ttl, again: Again::Refused };
        Ok(match self.claim(db, &wanted).await? {
            Claimed::Granted(granted) => {
                Start::Started { fence: granted.fence, expires_at: granted.expires_at }
            }
            Claimed::HeldBy(holder) => Start::AlreadyRunning(Some(holder)),
            Claimed::HeldByStranger => Start::AlreadyRunning(None),
        })
    }

    /// Who is at the file, if anyone.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn running(&self, db: &Db, marker: &Marker) -> Result<Option<Running>, DbError> {
        let found = store::find(&mut *db.read().await?, &marker.0).await?;
        let running = found.filter(|found| found.newest.ending.is_none() && found.newest.left_ms > 0);
        Ok(running.map(|found| {
            let Holder { owner, fence, expires_in } = found.holder();
            let progress = found.progress.and_then(|percent| u8::try_from(percent).ok());
            Running { owner, fence, since: found.claimed_at, expires_in, progress }
        }))
    }

    /// Refuses whoever names another's claim: a fence is told to everybody. It is one claim's, and that has one owner for
    /// ever, so no lock is needed.
    ///
    /// # Errors
    /// [`LeaseError::NotOwner`], or a database error. Of a claim that is no longer the newest nothing is said.
    pub async fn check_owner(
        conn: &mut PgConnection,
        marker: &Marker,
        fence: Fence,
        owner: &str,
    ) -> Result<(), LeaseError> {
        let found = store::find(conn, &marker.0).await?;
        let is_anothers = |found: store::Found| found.newest.fence == fence && found.newest.owner != owner;
        if found.is_some_and(is_anothers) { Err(LeaseError::NotOwner) } else { Ok(()) }
    }

    /// Locks the claims of an owner that may end in this transaction, and says of each, in the same order, whether it
    /// stands.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn hold_all_to_end_in_tx(
        &self,
        conn: &mut PgConnection,
        claims: &[(&Marker, Fence)],
        owner: &str,
    ) -> Result<Vec<Result<(), LeaseError>>, DbError> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = claims.iter().map(|(marker, _)| marker.0.as_str()).collect();
        let held = store::lock_all_to_end_in_tx(conn, &names).await?;
        let each = |(marker, fence): &(&Marker, Fence)| {
            let found = held.get(marker.0.as_str());
            if found.is_some_and(|(newest, anothers, _)| newest == fence && anothers != owner) {
                return Err(LeaseError::NotOwner);
            }
            let standing = found.map(|(newest, _, ending)| (*newest, *ending));
            self.noticed(&marker.0, rules::stands(standing, *fence))
        };
        Ok(claims.iter().map(each).collect())
    }

    /// Ends claims that [`Leases::hold_all_to_end_in_tx`] found to stand, with what they wrote.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn finish_all_in_tx(
        &self,
        conn: &mut PgConnection,
        markers: &[&Marker],
    ) -> Result<(), DbError> {
        if markers.is_empty() {
            return Ok(());
        }
        let mut names: Vec<_> = markers.iter().map(|marker| marker.0.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        store::finish_all_in_tx(conn, &names).await
    }

    /// Takes the shadows of those of these claims away that have ended.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn fade_ended(&self, db: &Db, claims: &[(&Marker, Fence)]) -> Result<(), DbError> {
        if claims.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = claims.iter().map(|(marker, fence)| (marker.0.as_str(), *fence)).collect();
        let ended = store::find_ended(&mut *db.read().await?, &named).await?;
        for (marker, fence) in
            claims.iter().filter(|(marker, _)| ended.iter().any(|name| name == marker.0.as_str()))
        {
            self.fade(&marker.0, *fence).await;
        }
        Ok(())
    }

    /// Says that the work goes on, and how far it is. Answers until when that counts.
    ///
    /// # Errors
    /// [`LeaseError`]: somebody else is at it, or it has ended.
    pub async fn beat(
        &self,
        db: &Db,
        marker: &Marker,
        fence: Fence,
        progress: Option<Percent>,
        ttl: LeaseTtl,
    ) -> Result<DateTime<Utc>, LeaseError> {
        self.renew_saying(db, &marker.0, fence, ttl, progress.map(|percent| i16::from(percent.0))).await
    }

    /// Ends the work with what it wrote, in one transaction. Once that is committed, [`Leases::fade`] takes the shadow
    /// away.
    ///
    /// # Errors
    /// [`LeaseError`]: what it wrote must not be committed. A repetition is told that the work has
    /// [ended](LeaseError::Ended), and how.
    pub async fn finish_in_tx(
        &self,
        conn: &mut PgConnection,
        marker: &Marker,
        fence: Fence,
    ) -> Result<(), LeaseError> {
        self.noticed(&marker.0, end_in_tx(conn, &marker.0, fence, Ending::Finished, None).await)
    }

    /// Gives the work up, as [`Leases::finish_in_tx`] ends it.
    ///
    /// # Errors
    /// [`LeaseError`]: it is no longer the caller's to give up.
    pub async fn fail_in_tx(
        &self,
        conn: &mut PgConnection,
        marker: &Marker,
        fence: Fence,
        why: &Reason,
    ) -> Result<(), LeaseError> {
        let failed = end_in_tx(conn, &marker.0, fence, Ending::Failed, Some(why.as_str())).await;
        self.noticed(&marker.0, failed)
    }

    /// Gives the work up.
    ///
    /// # Errors
    /// [`LeaseError`]: it is no longer the caller's to give up.
    pub async fn fail(&self, db: &Db, marker: &Marker, fence: Fence, why: &Reason) -> Result<(), LeaseError> {
        let mut tx = db.begin().await?;
        self.fail_in_tx(&mut tx, marker, fence, why).await?;
        tx.commit().await.map_err(DbError::from)?;
        self.fade(&marker.0, fence).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_files_have_one_marker() {
        assert_eq!(Marker::of("acc:1", "h").unwrap().name().as_str(), "processing:acc:1:h");
        assert_eq!(Marker::of("acc", "ABC#2"), Marker::of("acc", "abc#2"));
        assert_ne!(Marker::of("ACC", "abc"), Marker::of("acc", "abc"));
        let long = "x".repeat(PART_MAX_CHARS + 1);
        for (account, hash) in
            [("", "h"), ("a", ""), ("a", "1:h"), ("a b", "h"), ("a", "\u{e9}"), (&long, "h")]
        {
            assert_eq!(Marker::of(account, hash), Err(NotAMarker), "{account:?} {hash:?}");
        }
    }
}
