//! Making a hold last longer.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{held, resolve};
use crate::support::TestApp;

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
