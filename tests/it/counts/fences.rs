//! Which claim a record is written under, while claims change hands.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::{batch, claimed, conflict_types, counter, get, ids, lapse, post, record, sku_of};
use crate::support::campaign::{amount, report};
use crate::support::{Client, Peer, Private, TestApp, TestDatabase, at_once, unique};

const MANY: &[(&str, &str)] = &[("HOLDFAST_SYNC_BATCHES_PER_MINUTE", "1000000")];
const RECORDS: usize = 10;

/// Records of a rack by a session; every other one names its claim.
fn counted(batch: &str, rack: &str, (session, fence): (&str, i64), sku: &str) -> Vec<Value> {
    let one = |n: usize| {
        let mut sent = record(&format!("{batch} {n}"), session, sku, 1);
        sent["rack_id"] = json!(rack);
        if n.is_multiple_of(2) {
            sent["fence"] = json!(fence);
        }
        sent
    };
    (0..RECORDS).map(one).collect()
}

/// Lets the claim lapse, and claims the rack for another.
async fn follow(pool: PgPool, client: Client, rack: String) -> Value {
    let lapse = "UPDATE leases SET expires_at = clock_timestamp() - interval '1 millisecond' WHERE name = 'rack:lock:' || $1";
    let lapsed = sqlx::query(lapse).bind(&rack).execute(&pool).await.unwrap();
    assert_eq!(lapsed.rows_affected(), 1);
    post(&client, &format!("/racks/{rack}/claim"), &json!({"floor": "1"})).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_carries_the_fence_that_held_when_it_was_committed_whoever_claims_its_rack_meanwhile() {
    // The database says when each transaction was committed.
    let postgres = Private::postgres_with("track_commit_timestamp", "on").await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, None, MANY).await;
    let peer = Peer::start(&app.database.url, None, MANY).await;
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let ann = counter(&app, "ann").await;
    let bob = Client { address: peer.client.address, ..counter(&app, "bob").await };
    let devices = [ann, bob];
    let (rounds, rack) = (amount(12, 500), unique("R"));
    let mut claim =
        post(&devices[0], &format!("/racks/{rack}/claim"), &json!({"floor": "1"})).await.expect(200).json();
    let (mut written, mut lost) = (0, 0);
    for round in 0..rounds {
        let (device, other) = (devices[round % 2].clone(), devices[(round + 1) % 2].clone());
        let (session, fence) =
            (claim["session_id"].as_str().unwrap().to_owned(), claim["fence"].as_i64().unwrap());
        // While nobody else comes, all of it is kept.
        let calm = batch(&device, &counted("calm", &rack, (&session, fence), &sku)).await;
        assert_eq!(ids(&calm, "ok").len(), RECORDS, "{calm}");
        let told = at_once(3, |n| {
            let (device, other, pool) = (device.clone(), other.clone(), app.database.pool.clone());
            let (rack, session, sku) = (rack.clone(), session.clone(), sku.clone());
            async move {
                match n {
                    0 => follow(pool, other, rack).await,
                    n => {
                        batch(&device, &counted(&format!("raced {n}"), &rack, (&session, fence), &sku)).await
                    }
                }
            }
        })
        .await;
        for told in &told[1..] {
            // A batch is before the claim or after it, whole.
            let (ok, conflicts) = (ids(told, "ok").len(), conflict_types(told));
            assert!(ok == RECORDS || conflicts == ["lease_lost"; RECORDS], "{told}");
            (written, lost) = (written + ok, lost + conflicts.len());
        }
        let late = batch(&device, &counted("late", &rack, (&session, fence), &sku)).await;
        assert_eq!(conflict_types(&late), ["lease_lost"; RECORDS], "{late}");
        claim = told[0].clone();
    }
    let (records, wrong): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE fence IS DISTINCT FROM (
                SELECT max(c.fence) FROM rack_claims c WHERE c.rack_id = r.rack_id
                  AND pg_xact_commit_timestamp(c.xmin) < pg_xact_commit_timestamp(r.xmin)))
         FROM count_records r",
    )
    .fetch_one(&app.database.pool)
    .await
    .unwrap();
    assert_eq!((records, wrong), ((rounds * RECORDS + written) as i64, 0), "of {rounds} rounds");
    report(&format!(
        "{rounds} rounds of batches beside a claim that lapses and another's: {written} raced records kept under the fence \
         that held, {lost} told that it was lost"
    ));
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_registers_a_rack_is_told_if_a_file_put_it_on_another_floor_meanwhile() {
    let app = TestApp::without_redis().await;
    let (ann, rack) = (counter(&app, "ann").await, unique("R"));
    // The file has been read and is not committed yet.
    let mut file = app.database.pool.begin().await.unwrap();
    let insert = "INSERT INTO racks (rack_id, floor) VALUES ($1, '2')";
    sqlx::query(insert).bind(&rack).execute(&mut *file).await.unwrap();
    let claim = tokio::spawn({
        let (ann, rack) = (ann.clone(), rack.clone());
        async move { post(&ann, &format!("/racks/{rack}/claim"), &json!({"floor": "1"})).await }
    });
    app.until_somebody_waits_for_a_row().await;
    file.commit().await.unwrap();
    assert_eq!(claim.await.unwrap().expect(409).code(), "rack_elsewhere");
    let there = get(&ann, &format!("/racks/{rack}/status")).await.expect(200).json();
    assert_eq!((&there["floor"], &there["state"]), (&json!("2"), &json!("available")));
    assert_eq!(app.count("events WHERE kind = 'rack.claimed'").await, 0);
    post(&ann, &format!("/racks/{rack}/claim"), &json!({"floor": "2"})).await.expect(200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_only_away_has_its_records_kept_under_its_newest_claim() {
    let app = TestApp::without_redis().await;
    let (ann, bob, rack) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("R"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let (session, first) = claimed(&ann, &rack).await;
    let again = async || -> i64 {
        lapse(&app, &rack).await;
        let by = json!({"session_id": session});
        let claim = post(&ann, &format!("/racks/{rack}/claim"), &by).await.expect(200).json();
        claim["fence"].as_i64().unwrap()
    };
    let sent = |id: &str, fence: i64| {
        let mut sent = record(id, &session, &sku, 1);
        (sent["rack_id"], sent["fence"]) = (json!(rack), json!(fence));
        sent
    };
    let second = again().await;
    assert!(second > first);
    let told = batch(&ann, &[sent("1", first), sent("2", second), sent("3", second + 1)]).await;
    assert_eq!((ids(&told, "ok"), conflict_types(&told)), (vec!["1", "2"], vec!["lease_lost"]));
    let under: Vec<i64> =
        sqlx::query_scalar("SELECT fence FROM count_records").fetch_all(&app.database.pool).await.unwrap();
    assert_eq!(under, [second, second]);
    // Somebody came.
    lapse(&app, &rack).await;
    claimed(&bob, &rack).await;
    let third = again().await;
    let told = batch(&ann, &[sent("4", second), sent("5", third)]).await;
    assert_eq!((ids(&told, "ok"), conflict_types(&told)), (vec!["5"], vec!["lease_lost"]));
    // An operator took it away, and nobody came.
    let path = format!("/locks/rack%3Alock%3A{rack}/release");
    app.client.post(&path, &json!({"reason": "another is to count it"})).await.expect(200);
    let fourth = again().await;
    let told = batch(&ann, &[sent("6", third), sent("7", fourth)]).await;
    assert_eq!((ids(&told, "ok"), conflict_types(&told)), (vec!["7"], vec!["lease_lost"]));
    app.finish().await;
}
