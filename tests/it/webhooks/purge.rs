//! Events that can do nothing any more are forgotten, and nothing comes of it.

use holdfast::purge::{Purged, purge};
use serde_json::{Value, json};

use super::{by_id, by_key, cancel_by_api, read, told};
use crate::support::{Sender, TestApp, unique};

/// Lets all entries have come so long ago, and what they did be done then.
async fn entries_came(app: &TestApp, ago: &str) {
    sqlx::raw_sql(&format!(
        "ALTER TABLE early_cancellations DISABLE TRIGGER USER;
         UPDATE webhook_inbox SET received_at = clock_timestamp() - interval '{ago}';
         UPDATE order_cancellations SET cancelled_at = clock_timestamp() - interval '{ago}';
         UPDATE early_cancellations SET came_at = clock_timestamp() - interval '{ago}';
         ALTER TABLE early_cancellations ENABLE TRIGGER USER;"
    ))
    .execute(&app.database.pool)
    .await
    .unwrap();
}

async fn events(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT event_id FROM webhook_inbox ORDER BY event_id")
        .fetch_all(&app.database.pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_forgotten_when_it_is_old_and_nothing_is_left_that_it_could_cancel() {
    let app = TestApp::without_redis().await;
    let (sender, user) = (Sender::to(&app.client), unique("ann"));
    let variant = app.client.variant(50).await;
    let mut orders: Vec<Value> = Vec::new();
    for key in ["whole", "partly", "refused"] {
        orders.push(app.client.order(&user, key, &[(variant, 4)]).await.expect(201).json());
    }
    let units = |order: &Value, quantity: i64| {
        json!({"order_id": order["order_id"],
               "lines": [{"line_id": order["lines"][0]["line_id"], "quantity": quantity}]})
    };
    sender.cancel("whole", &by_id(&orders[0])).await.expect(200);
    sender.cancel("partly", &units(&orders[1], 1)).await.expect(200);
    sender.cancel("refused", &units(&orders[2], 5)).await.expect(409);
    sender.cancel("born", &by_key(&user, "born")).await.expect(200);
    sender.cancel("waits", &by_key(&user, "never")).await.expect(200);
    let born = app.client.order(&user, "born", &[(variant, 1)]).await.expect(201).json();
    assert_eq!(born["status"], "cancelled");

    entries_came(&app, "89 days").await;
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged::default());
    entries_came(&app, "91 days").await;
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged { events: 2, ..Purged::default() });
    assert_eq!(events(&app).await, ["partly", "refused", "waits"]);

    // Sent again, by somebody who knows the secret, none does anything a second time.
    let movements = app.count("stock_movements").await;
    for (event, data) in [("whole", by_id(&orders[0])), ("born", by_key(&user, "born"))] {
        let told = told(&sender.cancel(event, &data).await);
        assert_eq!((&told["result"], &told["duplicate"]), (&json!("already_cancelled"), &Value::Null));
    }
    let partly = told(&sender.cancel("partly", &units(&orders[1], 1)).await);
    assert_eq!((&partly["result"], &partly["duplicate"]), (&json!("cancelled"), &json!(true)));
    let waits = told(&sender.cancel("waits", &by_key(&user, "never")).await);
    assert_eq!((&waits["result"], &waits["duplicate"]), (&json!("waiting_for_order"), &json!(true)));
    assert_eq!(app.count("stock_movements").await, movements);
    // However late it comes, it is born cancelled.
    let late = app.client.order(&user, "never", &[(variant, 1)]).await.expect(201).json();
    assert_eq!(late["status"], "cancelled");

    // Of what was cancelled in part the rest is cancelled too: then its event goes, and can still do nothing.
    cancel_by_api(&app.client, &orders[1]["order_id"]).await.expect(200);
    entries_came(&app, "91 days").await;
    assert_eq!(purge(&app.app.db).await.unwrap().events, 4, "and those sent again");
    assert_eq!(events(&app).await, ["refused"]);
    let again = sender.cancel("partly", &units(&orders[1], 1)).await.expect(409);
    assert_eq!(again.code(), "cancel_exceeds_ordered");
    assert_eq!(read(&app.client, &orders[1]["order_id"]).await["lines"][0]["cancelled_quantity"], 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_forgotten_page_by_page_past_those_that_stay() {
    let app = TestApp::without_redis().await;
    let (sender, user) = (Sender::to(&app.client), unique("ann"));
    let variant = app.client.variant(50).await;
    let order = app.client.order(&user, "key", &[(variant, 1)]).await.expect(201).json();
    sender.cancel("waits", &by_key(&user, "never")).await.expect(200);
    sender.cancel("whole", &by_id(&order)).await.expect(200);
    // A thousand that wait at the head, more than a page, and then a thousand that are over.
    let copies = sqlx::query(
        "INSERT INTO webhook_inbox (entry_id, scheme, event_id, fingerprint, data, state, order_id, user_id,
             idempotency_key, lock_mode, lock_wait_ms, request_id, received_at)
         SELECT gen_random_uuid(), scheme, event_id || n, fingerprint, data, state, order_id, user_id, idempotency_key,
                lock_mode, lock_wait_ms, request_id,
                clock_timestamp() - CASE state WHEN 'cancelled' THEN interval '91 days' ELSE interval '92 days' END
         FROM webhook_inbox, generate_series(1, 1000) AS n",
    );
    assert_eq!(copies.execute(&app.database.pool).await.unwrap().rows_affected(), 2_000);
    assert_eq!(purge(&app.app.db).await.unwrap().events, 1_000);
    assert_eq!(app.count("webhook_inbox").await, 1_002);
    app.finish().await;
}
