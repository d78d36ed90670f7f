//! Writing under a fence: what makes a claim more than a promise.

use sqlx::PgConnection;

use super::model::{Fence, LeaseError, LeaseName};
use super::{Leases, rules, store};

impl Leases {
    /// Checks that the claim of `fence` stands, and holds it so until the transaction ends: whoever would claim or end
    /// the lease waits for the commit. Called in the writing transaction before what is written is decided.
    ///
    /// # Errors
    /// [`LeaseError`]: the write must not be made.
    pub async fn hold_fence_in_tx(
        &self,
        conn: &mut PgConnection,
        name: &LeaseName,
        fence: Fence,
    ) -> Result<(), LeaseError> {
        let standing = store::hold_in_tx(conn, name).await?;
        self.noticed(name, rules::stands(standing, fence))
    }

    /// Counts a claim that turned out lost.
    pub(super) fn noticed<T>(
        &self,
        name: &LeaseName,
        outcome: Result<T, LeaseError>,
    ) -> Result<T, LeaseError> {
        if outcome.as_ref().is_err_and(LeaseError::is_lost) {
            self.metrics.lost(name.class()).inc();
        }
        outcome
    }
}
