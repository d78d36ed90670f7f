//! A pooled connection in somebody's hands, a transaction on it, and what becomes of both when Postgres falls silent.
//!
//! What must stay true: nobody waits for ever for an answer of Postgres that never comes, as when its host is gone without
//! a word or hangs: the server's own limits can't act then. Whatever is [given up](give_up_after) in mid-query, its
//! connection is closed and never used again. What was lost with it may have been committed or not.

use std::io::{Error, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgTransactionManager;
use sqlx::{PgConnection, Postgres, TransactionManager};
use tokio::time::timeout;

use super::DbError;

/// How long a connection that is given back may take to say that it is well. It ends what it was left with before that.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// Whether what is dropped now is given up.
    static GIVING_UP: Arc<AtomicBool>;
}

/// Gives `work` up if it takes longer than `limit`: connections that it has are closed.
///
/// # Errors
/// [`DbError::Unavailable`], if it was given up.
pub async fn give_up_after<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, DbError> {
    // One for all limits within each other: whichever ends, all that is dropped with it is given up.
    let giving_up = GIVING_UP.try_with(Arc::clone).unwrap_or_default();
    let limited = async {
        let mut work = Box::pin(work);
        match timeout(limit, &mut work).await {
            Ok(done) => Ok(done),
            Err(_) => {
                giving_up.store(true, Ordering::Relaxed);
                drop(work);
                giving_up.store(false, Ordering::Relaxed);
                Err(DbError::Unavailable(Error::new(ErrorKind::TimedOut, "no answer in time").into()))
            }
        }
    };
    GIVING_UP.scope(giving_up.clone(), limited).await
}

/// A connection of a pool. Dropped, it is given back.
#[derive(Debug)]
pub struct Conn {
    pooled: PoolConnection<Postgres>,
    is_over: bool,
}

impl From<PoolConnection<Postgres>> for Conn {
    fn from(pooled: PoolConnection<Postgres>) -> Self {
        Self { pooled, is_over: false }
    }
}

impl Conn {
    /// Has it closed when it is dropped, and never used again.
    pub fn close_on_drop(&mut self) {
        self.pooled.close_on_drop();
        self.is_over = true;
    }
}

impl Deref for Conn {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.pooled
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.pooled
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if GIVING_UP.try_with(|giving_up| giving_up.load(Ordering::Relaxed)).unwrap_or_default() {
            self.close_on_drop();
        }
        if !self.is_over {
            // The pool asks it whether it lives. Left to itself it would wait for the answer for ever, and the pool be
            // smaller by one as long.
            tokio::spawn(timeout(GIVEN_BACK_WITHIN, self.pooled.return_to_pool()));
        }
    }
}

/// A transaction; rolled back when dropped.
#[derive(Debug)]
pub struct Tx {
    conn: Conn,
    is_open: bool,
}

impl Tx {
    pub(super) async fn begin(mut conn: Conn) -> Result<Self, sqlx::Error> {
        PgTransactionManager::begin(&mut conn).await?;
        Ok(Self { conn, is_open: true })
    }

    /// Commits.
    ///
    /// # Errors
    /// Whether it took place is not known then.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        PgTransactionManager::commit(&mut self.conn).await?;
        self.is_open = false;
        Ok(())
    }

    /// Undoes it, and waits until it is undone.
    ///
    /// # Errors
    /// Postgres undoes it by itself then.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        PgTransactionManager::rollback(&mut self.conn).await?;
        self.is_open = false;
        Ok(())
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.is_open {
            PgTransactionManager::start_rollback(&mut self.conn);
        }
    }
}
