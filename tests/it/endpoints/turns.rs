//! Whose turn it is: nobody waits for what is not due, and nothing overtakes what it stands behind.

use std::collections::BTreeMap;

use holdfast::endpoints::fan_out::fan_out;
use holdfast::purge::purge;
use serde_json::{Value, json};

use super::{Receiver, SOON, deliver_until, register, start, time_passes};
use crate::support::{TestApp, eventually};

const TYPE: &str = "session.started";

/// Writes events that happened so long ago, and waits until nobody writes before them any more.
async fn happen(app: &TestApp, count: i32, data: &str, ago: &str) {
    let insert = "INSERT INTO events (event_id, kind, data, happened_at)
        SELECT gen_random_uuid(), $1, $2::json, clock_timestamp() - $4::interval FROM generate_series(1, $3)";
    let happened = sqlx::query(insert).bind(TYPE).bind(data).bind(count).bind(ago);
    happened.execute(&app.database.pool).await.unwrap();
    let last: i64 =
        sqlx::query_scalar("SELECT max(position) FROM events").fetch_one(&app.database.pool).await.unwrap();
    let is_settled = async || app.app.events.at().is_some_and(|at| at >= last);
    eventually(SOON, "what happened is settled", is_settled).await;
}

async fn written_for(app: &TestApp, endpoint: &Value) -> i64 {
    let id = endpoint["endpoint_id"].as_str().unwrap();
    app.count(&format!("webhook_deliveries WHERE endpoint_id = '{id}'")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_comes_back_from_long_ago_holds_up_no_other() {
    let app = start().await;
    let _watching = app.app.events.watch();
    let receiver = Receiver::start().await;
    let back = register(&app, &receiver.url(), &[TYPE]).await;
    happen(&app, 6_000, "{}", "90 days").await;
    let current = register(&app, &receiver.url(), &[TYPE]).await;
    happen(&app, 1, "{}", "0").await;
    assert!(fan_out(&app.app).await.unwrap(), "there is more to write for the one that came back");
    assert_eq!(written_for(&app, &current).await, 1);
    let unpublished: Option<f64> = {
        let mut conn = app.app.db.read().await.unwrap();
        holdfast::operations::backlog::look(&mut conn).await.unwrap().0.unpublished_age
    };
    assert!(unpublished.is_none_or(|age| age < 86_400.0), "not how long ago it was: {unpublished:?}");
    while fan_out(&app.app).await.unwrap() {}
    assert_eq!((written_for(&app, &back).await, written_for(&app, &current).await), (6_001, 1));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_events_are_written_for_an_endpoint_a_few_at_a_time() {
    let app = start().await;
    let _watching = app.app.events.watch();
    let receiver = Receiver::start().await;
    let endpoint = register(&app, &receiver.url(), &[TYPE]).await;
    let large = json!({"filler": "x".repeat(1_000_000)}).to_string();
    happen(&app, 10, &large, "0").await;
    while fan_out(&app.app).await.unwrap() {}
    assert_eq!(written_for(&app, &endpoint).await, 10);
    let most: i64 = sqlx::query_scalar(
        "SELECT max(bytes)::bigint FROM (
            SELECT sum(octet_length(body)) AS bytes FROM webhook_deliveries GROUP BY xmin::text) AS pages",
    )
    .fetch_one(&app.database.pool)
    .await
    .unwrap();
    assert!(most < 5 * 1024 * 1024, "{most} bytes were written in one transaction");
    app.finish().await;
}

/// Writes deliveries about so many things: of each, so many, the first of which is due `first_due` from now.
async fn fill(app: &TestApp, (what, things, each): (&str, i32, i32), first_due: &str) {
    let insert =
        "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, position, event_id, type, aggregate, body,
            next_attempt_at)
        SELECT gen_random_uuid(), endpoint_id, n, gen_random_uuid(), 'session.started', $1 || ':' || thing,
            json_build_object('about', $1 || ':' || thing, 'n', n)::text,
            clock_timestamp() + CASE WHEN n = 1 THEN $4::interval ELSE '-1 minute' END
        FROM webhook_endpoints, generate_series(1, $2) AS thing, generate_series(1, $3) AS n";
    let filled = sqlx::query(insert).bind(what).bind(things).bind(each).bind(first_due);
    filled.execute(&app.database.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_sent_among_much_that_stands_behind_others_and_nothing_overtakes() {
    let app = start().await;
    let receiver = Receiver::start().await;
    register(&app, &receiver.url(), &["lock.mode_changed"]).await;
    // More than is looked at, all due, and each behind one that is not.
    fill(&app, ("blocked", 50, 2), "1 hour").await;
    fill(&app, ("hot", 1, 40), "-1 minute").await;
    fill(&app, ("late", 1, 1), "0").await;
    deliver_until(&app, "all that can be sent is", async || receiver.answered() == 41).await;
    assert_eq!(app.count("webhook_deliveries WHERE state = 'pending' AND is_behind").await, 50);
    time_passes(&app).await;
    deliver_until(&app, "all the rest is sent", async || receiver.answered() == 141).await;
    let mut told = BTreeMap::<_, Vec<_>>::new();
    for sent in receiver.sent() {
        let body = sent.json();
        told.entry(body["about"].to_string()).or_default().push(body["n"].as_i64().unwrap());
    }
    assert_eq!(told.len(), 52);
    for (about, numbers) in told {
        assert!(numbers.is_sorted(), "{about}: {numbers:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_one_that_is_given_up_is_sent() {
    let app = start().await;
    let receiver = Receiver::start().await;
    register(&app, &receiver.url(), &["lock.mode_changed"]).await;
    fill(&app, ("rack", 1, 2), "-1 minute").await;
    sqlx::raw_sql(
        "UPDATE webhook_deliveries SET pending_since = clock_timestamp() - interval '8 days' WHERE position = 1;
         UPDATE webhook_deliveries SET is_behind = true WHERE position = 2",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
    assert_eq!(purge(&app.app.db).await.unwrap().given_up, 1);
    deliver_until(&app, "the other is sent", async || receiver.answered() == 1).await;
    assert_eq!(receiver.sent()[0].json()["n"], 2);
    app.finish().await;
}
