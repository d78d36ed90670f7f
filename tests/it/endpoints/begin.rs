//! A new endpoint is told whatever is committed after it was made.

use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use super::{Receiver, deliver_until, register, start};

/// Draws a position, and commits only when the test says so.
async fn under_way(url: &str) -> PgConnection {
    let mut long = PgConnection::connect(url).await.unwrap();
    long.execute(
        "BEGIN; INSERT INTO events (event_id, kind, data) VALUES (gen_random_uuid(), 'session.started', '{}')",
    )
    .await
    .unwrap();
    long
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_when_an_endpoint_was_made_is_told_to_it_however_long_that_lasted() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let before = app.client.variant(10).await;
    deliver_until(&app, "that is past", async || app.app.events.at().is_some_and(|at| at > 0)).await;
    let mut long = under_way(&app.database.url).await;
    // A later position than that of what lasts, and drawn before the endpoint is made.
    app.client.decrement(before, 1).await.expect(200);
    register(&app, &receiver.url(), &["session.started"]).await;
    long.execute("COMMIT").await.unwrap();
    deliver_until(&app, "it is told", async || receiver.sent().len() == 1).await;
    assert_eq!(receiver.sent()[0].json()["type"], "session.started");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_not_told_of_what_was_committed_before_it_was_made() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let variant = app.client.variant(10).await;
    register(&app, &receiver.url(), &["stock.changed"]).await;
    app.client.decrement(variant, 1).await.expect(200);
    deliver_until(&app, "it is told", async || !receiver.sent().is_empty()).await;
    assert_eq!(receiver.sent()[0].json()["data"]["version"], json!(2));
    app.finish().await;
}
