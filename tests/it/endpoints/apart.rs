//! Endpoints that are stuck, and what that costs others: nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast::endpoints::deliver;

use super::{Receiver, register, start};
use crate::support::{TestApp, TestDatabase, eventually};

const SOON: Duration = Duration::from_secs(60);

async fn failures(app: &TestApp) -> i64 {
    app.count("webhook_deliveries WHERE last_error IS NOT NULL").await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_endpoint_is_stuck_another_is_told_all_that_happens() {
    let app = start().await;
    let (stuck, well) = (Receiver::start().await, Receiver::start().await);
    stuck.hold();
    register(&app, &stuck.url(), &["stock.changed"]).await;
    register(&app, &well.url(), &["stock.changed"]).await;
    let delivering = tokio::spawn(deliver::keep(app.app.clone()));
    // While somebody wants to know, it is looked often how far all is settled.
    let _watching = app.app.events.watch();
    let variants = app.variants(8, 100).await;
    eventually(SOON, "all places of the one are taken", async || stuck.sent().len() == 4).await;
    for variant in &variants {
        app.client.decrement(*variant, 1).await.expect(200);
    }
    eventually(SOON, "the other is told", async || well.sent().len() == 16).await;
    assert_eq!((stuck.sent().len(), failures(&app).await), (4, 0), "its first attempts have not ended yet");
    let mut told = BTreeMap::<_, Vec<_>>::new();
    for sent in well.sent() {
        let movement = sent.json()["data"].clone();
        told.entry(movement["variant_id"].to_string())
            .or_default()
            .push(movement["version"].as_i64().unwrap());
    }
    assert!(told.len() == 8 && told.values().all(|versions| *versions == [1, 2]), "{told:?}");
    stuck.go_on();
    eventually(SOON, "the one is told too", async || stuck.answered() == 16).await;
    app.app.stopping.cancel();
    delivering.await.unwrap();
    app.finish().await;
}

/// The only connection there is, is taken when all of them end.
#[tokio::test(flavor = "multi_thread")]
async fn however_many_attempts_end_at_once_they_are_written_down_together_and_hold_no_connection_before() {
    let settings = [("HOLDFAST_WEBHOOK_ALLOW_PRIVATE", "true"), ("HOLDFAST_DB_MAX_CONNECTIONS", "1")];
    let app = TestApp::with(TestDatabase::fresh().await, None, &settings).await;
    let receiver = Receiver::start().await;
    register(&app, &receiver.url(), &["stock.changed"]).await;
    sqlx::query(
        "INSERT INTO webhook_endpoints (endpoint_id, url, types, secret, subject, position)
         SELECT gen_random_uuid(), url, types, secret, subject, position
         FROM webhook_endpoints, generate_series(1, 99)",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
    receiver.hold();
    let delivering = tokio::spawn(deliver::keep(app.app.clone()));
    let variants = app.variants(5, 10).await;
    eventually(SOON, "all places are taken", async || receiver.sent().len() == 400).await;
    // It is there to be had, although all of them are under way.
    app.client.decrement(variants[0], 1).await.expect(200);
    let only = app.app.db.read().await.unwrap();
    receiver.go_on();
    eventually(SOON, "all have ended", async || receiver.answered() >= 400).await;
    drop(only);
    eventually(SOON, "that is written down", async || {
        app.count("webhook_deliveries WHERE state = 'delivered'").await >= 400
    })
    .await;
    let transactions: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT xmin::text) FROM (
            SELECT xmin FROM webhook_deliveries WHERE state = 'delivered' ORDER BY delivered_at LIMIT 400
         ) AS first",
    )
    .fetch_one(&app.database.pool)
    .await
    .unwrap();
    assert!(transactions < 40, "{transactions} transactions wrote 400 attempts down");
    app.app.stopping.cancel();
    delivering.await.unwrap();
    app.finish().await;
}
