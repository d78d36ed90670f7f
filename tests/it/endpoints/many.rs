//! An endpoint with a large log: it is sent again, and removed, in pieces that hold nobody up.

use hyper::Method;
use serde_json::{Value, json};
use sqlx::Executor;

use holdfast::endpoints::deliver::run_once;
use holdfast::purge::purge;

use super::{Receiver, path, register, start};
use crate::support::{Peer, TestApp, at_once};

const MANY: i64 = 20_000;
/// How many are sent again in one transaction.
const BATCH: i64 = 2_000;

/// Its log is full of what was delivered long ago, about seven things.
async fn with_a_large_log(app: &TestApp) -> (Value, Receiver) {
    let receiver = Receiver::start().await;
    let endpoint = register(app, &receiver.url(), &["lock.mode_changed"]).await;
    let fill = "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, position, event_id, type, aggregate, body, state,
            delivered_at, created_at)
        SELECT gen_random_uuid(), endpoint_id, n, gen_random_uuid(), 'stock.changed', 'variant:' || n % 7, '{}',
            'delivered', clock_timestamp(), '2026-01-01'::timestamptz + n * interval '1 second'
        FROM webhook_endpoints, generate_series(1, $1::bigint) AS n";
    sqlx::query(fill).bind(MANY).execute(&app.database.pool).await.unwrap();
    (endpoint, receiver)
}

async fn number(app: &TestApp, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.database.pool).await.unwrap()
}

/// Has deliveries sent again until no more of them are left. Gives how many there were.
async fn replay_all(app: &TestApp, endpoint: &Value, mut range: Value) -> i64 {
    let mut all = 0;
    loop {
        let reply = app.client.post(&path(endpoint, "/replay"), &range).await.expect(200).json();
        all += reply["replayed"].as_i64().unwrap();
        if reply["next_cursor"].is_null() {
            return all;
        }
        range["cursor"] = reply["next_cursor"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_log_is_sent_again_in_batches_that_commit_in_the_order_of_its_positions() {
    let app = start().await;
    let (endpoint, _receiver) = with_a_large_log(&app).await;
    assert_eq!(replay_all(&app, &endpoint, json!({"state": "dead"})).await, 0);
    assert_eq!(replay_all(&app, &endpoint, json!({"reason": "all of it"})).await, MANY);
    // Each batch is on the record, and none was larger than it may be.
    let batches: Vec<(i64, Option<String>)> =
        sqlx::query_as("SELECT replayed, reason FROM delivery_replays WHERE replayed > 0")
            .fetch_all(&app.database.pool)
            .await
            .unwrap();
    assert_eq!(batches.len() as i64, MANY / BATCH);
    assert!(batches.iter().all(|batch| *batch == (BATCH, Some("all of it".into()))), "{batches:?}");
    let out_of_order = "WITH batches AS (
            SELECT (position - 1) / 2000 AS n, min(pending_since) AS first, max(pending_since) AS last
            FROM webhook_deliveries GROUP BY 1
         ) SELECT count(*) FROM batches a JOIN batches b ON b.n = a.n + 1 WHERE b.first <= a.last";
    assert_eq!(number(&app, out_of_order).await, 0);
    assert_eq!(app.count("webhook_deliveries WHERE state = 'pending' AND delivered_at IS NULL").await, MANY);

    // From a place, of a state and of a time: exactly these.
    let rest = json!({"state": "pending", "cursor": (MANY - 10).to_string()});
    assert_eq!(replay_all(&app, &endpoint, rest).await, 10);
    let some = json!({"from": "2026-01-01T00:00:11Z", "to": "2026-01-01T00:00:21Z"});
    assert_eq!(replay_all(&app, &endpoint, some).await, 10);
    let refused = app.client.post(&path(&endpoint, "/replay"), &json!({"cursor": "-1"})).await.expect(422);
    assert_eq!(refused.json()["errors"][0]["field"], "cursor");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_had_deliveries_sent_again_does_so_once() {
    let app = start().await;
    let (endpoint, _receiver) = with_a_large_log(&app).await;
    let (replay, body) = (path(&endpoint, "/replay"), json!({"to": "2026-01-01T00:00:06Z"}));
    let first = app.client.post_keyed(&replay, &body, "again").await.expect(200);
    assert_eq!(first.json()["replayed"], 5);
    let again = app.client.post_keyed(&replay, &body, "again").await.expect(200);
    assert!(again.was_replayed() && again.bytes == first.bytes);
    assert_eq!(app.count("delivery_replays WHERE replayed > 0").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_at_once_with_one_key_one_has_deliveries_sent_again() {
    let app = start().await;
    let (endpoint, _receiver) = with_a_large_log(&app).await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    let (replay, clients) = (path(&endpoint, "/replay"), [app.client.clone(), peer.client.clone()]);
    let replies = at_once(6, |n| {
        let (client, replay) = (clients[n % 2].clone(), replay.clone());
        async move { client.post_keyed(&replay, &json!({}), "again").await }
    })
    .await;
    let (done, others): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    for other in others {
        assert_eq!(other.expect(409).code(), "idempotency_in_flight");
    }
    // Whoever came late had the answer of the first.
    assert!(done.iter().all(|reply| reply.bytes == done[0].bytes));
    let replayed = "SELECT coalesce(sum(replayed), 0)::bigint FROM delivery_replays";
    assert_eq!(json!(number(&app, replayed).await), done[0].json()["replayed"]);
    let again = app.client.post_keyed(&replay, &json!({}), "again").await.expect(200);
    assert!(again.was_replayed() && again.bytes == done[0].bytes);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_removed_is_gone_at_once_and_its_log_with_the_next_purge() {
    let app = start().await;
    let (endpoint, receiver) = with_a_large_log(&app).await;
    sqlx::query("UPDATE webhook_deliveries SET state = 'pending', delivered_at = NULL WHERE position > $1")
        .bind(MANY - 100)
        .execute(&app.database.pool)
        .await
        .unwrap();
    // Somebody has one of its deliveries: who removes it does not wait for that.
    let mut held = app.database.pool.begin().await.unwrap();
    held.execute("SELECT FROM webhook_deliveries WHERE position = 1 FOR UPDATE").await.unwrap();
    let remove = format!("/api/v1{}", path(&endpoint, ""));
    for status in [204, 404] {
        app.client.send(Method::DELETE, &remove, &[], "").await.unwrap().expect(status);
    }
    assert_eq!(app.count("webhook_deliveries").await, MANY);
    for rest in ["", "/deliveries"] {
        assert_eq!(app.client.get(&path(&endpoint, rest)).await.expect(404).code(), "endpoint_not_found");
    }
    app.client.post(&path(&endpoint, "/replay"), &json!({})).await.expect(404);
    assert_eq!(run_once(&app.app).await.unwrap(), 0, "nothing is sent to it any more");
    assert!(receiver.sent().is_empty());
    held.rollback().await.unwrap();
    assert_eq!(purge(&app.app.db).await.unwrap().deliveries, MANY.unsigned_abs());
    assert_eq!(app.count("webhook_deliveries").await, 0);
    app.finish().await;
}
