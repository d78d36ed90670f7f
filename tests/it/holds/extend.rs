//! Making a hold last longer.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{held, resolve};
use crate::support::TestApp;
use crate::support::row::until_at_a_row;

fn end(hold: &Value) -> DateTime<Utc> {
    hold["expires_at"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extended_hold_counts_its_time_anew_from_now() {
    let app = TestApp::start().await;
    let variant = app.client.variant(2).await;
    let hold = held(&app, &[(variant, 2)]).await;
    let longer =
        resolve(&app.client, &hold, "extend", &json!({"ttl_seconds": 3_600})).await.expect(200).json();
    assert!((end(&longer) - end(&hold)).num_seconds() >= 2_990, "600 s, then 3,600 s");
    let shorter = resolve(&app.client, &hold, "extend", &json!({"ttl_seconds": 10})).await.expect(200).json();
    assert!(end(&shorter) < end(&hold));
    assert_eq!(resolve(&app.client, &hold, "extend", &json!({"ttl_seconds": 9})).await.status, 422);
    assert_eq!(resolve(&app.client, &hold, "extend", &json!({})).await.status, 422);
    app.finish().await;
}

#[tokio::test]
async fn whoever_extends_a_hold_waits_for_whoever_counts_that_users_holds() {
    let app = TestApp::start().await;
    let variant = app.client.variant(5).await;
    let one = held(&app, &[(variant, 1)]).await;
    let mut counting = app.database.pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('holds of ann', 0))")
        .execute(&mut *counting)
        .await
        .unwrap();
    let client = app.client.clone();
    let extended =
        tokio::spawn(async move { resolve(&client, &one, "extend", &json!({"ttl_seconds": 60})).await });
    until_at_a_row(&app.database.pool, 1).await;
    counting.commit().await.unwrap();
    extended.await.unwrap().expect(200);
    app.finish().await;
}
