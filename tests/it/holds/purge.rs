//! Holds that came to nothing long ago are forgotten, and nothing comes of it.

use holdfast::holds::expire::expire_due;
use holdfast::purge::{Purged, purge};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{held, lapse, level, resolve};
use crate::support::{TestApp, unique};

fn id(hold: &Value) -> Uuid {
    hold["hold_id"].as_str().unwrap().parse().unwrap()
}

/// Lets it be over for so long.
async fn resolved(app: &TestApp, hold: &Value, ago: &str) {
    let set = format!(
        "UPDATE holds SET resolved_at = clock_timestamp() - interval '{ago}'
         WHERE hold_id = $1 AND resolved_at IS NOT NULL"
    );
    let aged = sqlx::query(&set).bind(id(hold)).execute(&app.database.pool).await.unwrap();
    assert_eq!(aged.rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_after_it_came_to_nothing_a_hold_is_forgotten_and_a_captured_one_never() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(20).await;
    let mut holds = Vec::new();
    for _ in 0..6 {
        holds.push(held(&app, &[(variant, 2), (variant, 1)]).await);
    }
    let [released, expired, recent, captured, lapsed, live] = holds.try_into().unwrap();
    resolve(&app.client, &released, "release", &json!({})).await.expect(200);
    resolve(&app.client, &recent, "release", &json!({})).await.expect(200);
    let capture = format!("/holds/{}/capture", captured["hold_id"].as_str().unwrap());
    let key = unique("key");
    let order = app.client.post_keyed(&capture, &json!({}), &key).await.expect(201).json();
    lapse(&app, &expired).await;
    assert_eq!(expire_due(&app.app).await.unwrap(), 1);
    // Over since January, and nobody has written it down: its units are still part of what the row says is held.
    lapse(&app, &lapsed).await;
    for (hold, ago) in
        [(&released, "31 days"), (&expired, "31 days"), (&recent, "29 days"), (&captured, "1 year")]
    {
        resolved(&app, hold, ago).await;
    }
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged { holds: 2, ..Purged::default() });
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged::default());
    assert_eq!((app.count("holds").await, app.count("hold_lines").await), (4, 8));
    assert_eq!(level(&app.client, variant).await, [17, 3, 14], "one sold, one held, one over");

    for (hold, verb) in [(&released, "release"), (&expired, "capture")] {
        assert_eq!(resolve(&app.client, hold, verb, &json!({})).await.expect(404).code(), "hold_not_found");
    }
    // The captured one leads a retry of its capture to its order, however late.
    app.age_answers().await;
    let late = app.client.post_keyed(&capture, &json!({}), &key).await.expect(200);
    assert!(late.was_replayed() && late.json()["order_id"] == order["order_id"]);
    let again = resolve(&app.client, &captured, "capture", &json!({})).await.expect(409);
    assert_eq!(again.code(), "hold_captured");

    assert_eq!(expire_due(&app.app).await.unwrap(), 1);
    resolved(&app, &lapsed, "31 days").await;
    assert_eq!(purge(&app.app.db).await.unwrap().holds, 1);
    assert_eq!(level(&app.client, variant).await, [17, 3, 14]);
    resolve(&app.client, &live, "capture", &json!({})).await.expect(201);
    app.finish().await;
}
