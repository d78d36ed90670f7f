//! A hold in the place of another, as when a cart changes: the user's own hold is not counted against them.

use serde_json::json;

use super::{held, level, resolve};
use crate::support::{TestApp, unique};

#[tokio::test]
async fn a_hold_takes_the_place_of_another_whose_stock_it_may_have() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variants = app.variants(2, 2).await;
        let (a, b) = (variants[0], variants[1]);
        let first = held(&app, &[(a, 2)]).await;
        let replace = async |lines: serde_json::Value| {
            let body = json!({"user_id": "ann", "lines": lines, "replaces": first["hold_id"]});
            app.client.post_keyed("/holds", &body, &unique("replace")).await
        };
        let short = json!([{"variant_id": a, "quantity": 3}, {"variant_id": b, "quantity": 1}]);
        assert_eq!(replace(short).await.expect(409).code(), "insufficient_stock");
        assert_eq!((level(&app.client, a).await, level(&app.client, b).await), ([2, 2, 0], [2, 0, 2]));
        let wanted = json!([{"variant_id": a, "quantity": 1}, {"variant_id": b, "quantity": 2}]);
        let second = replace(wanted.clone()).await.expect(201).json();
        assert_eq!((level(&app.client, a).await, level(&app.client, b).await), ([2, 1, 1], [2, 2, 0]));
        assert_eq!(replace(wanted).await.expect(409).code(), "hold_released", "once");
        resolve(&app.client, &first, "capture", &json!({})).await.expect(409);
        resolve(&app.client, &second, "capture", &json!({})).await.expect(201);
        assert_eq!((level(&app.client, a).await, level(&app.client, b).await), ([1, 0, 1], [0, 0, 0]));
        app.finish().await;
    }
}

#[tokio::test]
async fn of_twenty_holds_one_can_be_replaced_and_no_strangers_at_all() {
    let app = TestApp::start().await;
    let variant = app.client.variant(100).await;
    let mut last = json!(null);
    for _ in 0..20 {
        last = held(&app, &[(variant, 1)]).await;
    }
    let body = |user: &str| json!({"user_id": user, "lines": [{"variant_id": variant, "quantity": 1}], "replaces": last["hold_id"]});
    let stranger = app.client.post_keyed("/holds", &body("bob"), &unique("replace")).await.expect(404);
    assert_eq!(stranger.code(), "hold_not_found");
    app.client.post_keyed("/holds", &body("ann"), &unique("replace")).await.expect(201);
    assert_eq!(level(&app.client, variant).await, [100, 20, 80]);
    app.finish().await;
}
