//! What counting keeps for a time only is forgotten, and nothing comes of it.

use holdfast::purge::{Purged, purge};
use serde_json::json;

use super::{batch, conflict_types, counter, get, ids, post, record, sku_of};
use crate::support::{TestApp, unique};

#[tokio::test]
async fn what_is_over_is_forgotten_and_what_was_posted_is_not_posted_again() {
    let app = TestApp::without_redis().await;
    let (ann, session, open) = (counter(&app, "ann").await, unique("s"), unique("s"));
    let variant = app.client.variant(10).await;
    let sku = sku_of(&app.client, variant).await;
    let serial = |session: &str, number: &str| {
        let mut sent = record("1", session, &sku, 3);
        sent["serial_numbers"] = json!([number]);
        sent
    };
    let mut odd = record("2", &session, &sku, 3);
    odd["damage_qty"] = json!(4);
    batch(&ann, &[serial(&session, "A"), serial(&open, "B"), odd]).await;
    let inbox = get(&ann, "/sync/conflicts").await.expect(200).json();
    let path = format!("/sync/conflicts/{}/resolve", inbox["items"][0]["conflict_id"].as_str().unwrap());
    post(&ann, &path, &json!({"resolution": "ignore"})).await.expect(200);
    post(&ann, &format!("/sessions/{session}/post"), &json!({})).await.expect(200);
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged::default());
    for aged in [
        "UPDATE sync_minutes SET began_at = began_at - interval '61 minutes'",
        "UPDATE count_serials SET free_from = clock_timestamp() WHERE free_from IS NOT NULL",
    ] {
        sqlx::query(aged).execute(&app.database.pool).await.unwrap();
    }
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged { counts: 2, ..Purged::default() });
    assert_eq!(app.count("count_serials").await, 1);
    sqlx::query("UPDATE count_sessions SET posted_at = posted_at - interval '401 days'")
        .execute(&app.database.pool)
        .await
        .unwrap();
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged { counts: 2, ..Purged::default() });
    assert_eq!((app.count("count_records").await, app.count("count_conflicts").await), (1, 0));
    // What comes again is told so; it is not counted in a new session of that name.
    let late = batch(&ann, &[serial(&session, "A")]).await;
    assert_eq!(late["errors"][0]["error_type"], "session_posted");
    assert_eq!((ids(&late, "ok").len(), conflict_types(&late).len()), (0, 0));
    post(&ann, &format!("/sessions/{session}/post"), &json!({})).await.expect(200);
    assert_eq!(app.client.on_hand(variant).await, 3);
    app.finish().await;
}
