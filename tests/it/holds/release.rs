//! Giving a hold up.

use serde_json::json;

use super::{held, level, resolve};
use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_is_had_by_the_very_next_request() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(2).await;
        let hold = held(&app, &[(variant, 2)]).await;
        assert_eq!(app.client.decrement(variant, 1).await.code(), "insufficient_stock");
        let released = resolve(&app.client, &hold, "release", &json!({})).await.expect(200);
        assert_eq!(released.json()["state"], "released");
        app.client.decrement(variant, 2).await.expect(200);
        assert_eq!(level(&app.client, variant).await, [0, 0, 0]);
        app.finish().await;
    }
}
