//! Claims that outlive a transaction.
//!
//! Time is driven by setting a lease's end back in the database, whose clock is the only one that counts.

mod by_hand;
mod claims;
mod fences;
mod markers;
mod purge;
mod renewals;
mod shadows;

use std::time::Duration;

use holdfast::app::App;
use holdfast::leases::{Again, Claimed, Fence, LeaseName, LeaseTtl, Wanted};
use holdfast::text::LeaseOwner;
use sqlx::{Connection, PgConnection, PgPool};

use crate::support::{Peer, TestApp, TestDatabase, shared_redis, unique};

/// A limit for what should take no time: it only tells a hang from an answer.
const SOON: Duration = Duration::from_secs(15);
/// No slow machine is taken for a fault of Redis.
const PATIENT: &[(&str, &str)] = &[("HOLDFAST_REDIS_TIMEOUT_MS", "1000")];

/// A rack that no other test knows.
fn rack() -> LeaseName {
    LeaseName::try_from(format!("rack:lock:{}", unique("R"))).unwrap()
}

fn owner(name: &str) -> LeaseOwner {
    LeaseOwner::try_from(name.to_owned()).unwrap()
}

fn a_minute() -> LeaseTtl {
    LeaseTtl::try_from(Duration::from_secs(60)).unwrap()
}

async fn claim(app: &App, name: &LeaseName, by: &str) -> Claimed {
    let wanted = Wanted { name, owner: &owner(by), ttl: a_minute(), again: Again::SameClaim };
    app.leases.claim(&app.db, &wanted).await.unwrap()
}

/// Claims what is to be had.
async fn granted(app: &App, name: &LeaseName, by: &str) -> Fence {
    match claim(app, name, by).await {
        Claimed::Granted(granted) => granted.fence,
        refused => panic!("{refused:?}"),
    }
}

/// Sets the end of a claim back: it has lapsed now.
async fn lapse(pool: &PgPool, name: &LeaseName) {
    let lapsed = sqlx::query(
        "UPDATE leases SET expires_at = clock_timestamp() - interval '1 millisecond' WHERE name = $1",
    )
    .bind(name.as_str())
    .execute(pool)
    .await
    .unwrap();
    assert_eq!(lapsed.rows_affected(), 1);
}

/// A table whose rows are written under leases, which refuses old fences by itself.
async fn with_a_guarded_table(pool: &PgPool) {
    sqlx::raw_sql(
        "CREATE SEQUENCE moments;
         CREATE TABLE claims_made (lease_name text, fence bigint UNIQUE, owner text, at bigint DEFAULT nextval('moments'));
         CREATE TABLE written (lease_name text, fence bigint, note text, at bigint DEFAULT nextval('moments'));
         CREATE TRIGGER written_under_the_newest_fence BEFORE INSERT OR UPDATE ON written
             FOR EACH ROW EXECUTE FUNCTION refuse_old_fence()",
    )
    .execute(pool)
    .await
    .unwrap();
}

/// Writes a row under a fence, with nothing but the trigger to refuse it.
async fn write(
    conn: &mut PgConnection,
    name: &LeaseName,
    fence: Fence,
    note: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO written (lease_name, fence, note) VALUES ($1, $2, $3)")
        .bind(name.as_str())
        .bind(fence.0)
        .bind(note)
        .execute(conn)
        .await
        .map(drop)
}

/// A transaction of the test's own, with the session's options of the service.
async fn begin(app: &TestApp) -> PgConnection {
    let mut conn = PgConnection::connect(&app.database.url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut conn).await.unwrap();
    conn
}

async fn commit(mut conn: PgConnection) {
    sqlx::query("COMMIT").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

async fn roll_back(mut conn: PgConnection) {
    sqlx::query("ROLLBACK").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// What must hold of leases and of what was written under them, whoever raced.
async fn check(pool: &PgPool) {
    let violations: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s: never claimed', name) FROM leases WHERE fence = 0
         UNION ALL SELECT format('%s: fence %s was not issued', name, fence) FROM leases, lease_fences
                   WHERE fence > last_value
         UNION ALL SELECT format('%s: made %s after %s', lease_name, fence, before) FROM (
                       SELECT *, lag(fence) OVER (PARTITION BY lease_name ORDER BY at) AS before FROM claims_made
                   ) AS made WHERE fence <= before
         UNION ALL SELECT format('%s: newest is %s, but %s was granted', name, l.fence, max(c.fence))
                   FROM leases l JOIN claims_made c ON lease_name = name GROUP BY name, l.fence
                   HAVING max(c.fence) > l.fence
         UNION ALL SELECT format('%s: written under %s after %s was granted', w.lease_name, w.fence, c.fence)
                   FROM written w JOIN claims_made c ON c.lease_name = w.lease_name
                   WHERE c.fence > w.fence AND c.at < w.at",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(violations, [""; 0]);
}

/// Notes a claim that was granted, within its transaction or right after.
async fn note(conn: &mut PgConnection, name: &LeaseName, fence: Fence, by: &str) {
    sqlx::query("INSERT INTO claims_made (lease_name, fence, owner) VALUES ($1, $2, $3)")
        .bind(name.as_str())
        .bind(fence.0)
        .bind(by)
        .execute(conn)
        .await
        .unwrap();
}

/// Two replicas on one database, for each way in which they can see Redis.
async fn in_all_modes(test: impl AsyncFn(&TestApp, &Peer)) {
    let redis = shared_redis();
    for (here, there) in [(Some(&*redis), Some(&*redis)), (None, None), (Some(&*redis), None)] {
        let app = TestApp::with(TestDatabase::fresh().await, here, PATIENT).await;
        with_a_guarded_table(&app.database.pool).await;
        let peer = Peer::start(&app.database.url, there, PATIENT).await;
        test(&app, &peer).await;
        check(&app.database.pool).await;
        peer.finish().await;
        app.finish().await;
    }
}
