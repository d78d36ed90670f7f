//! Holding stock.

use serde_json::json;
use uuid::Uuid;

use super::{held, hold, level, resolve};
use crate::support::{TestApp, at_once, unique};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_on_hand_and_not_available_and_keeps_its_price() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let (a, b) = (
            app.client.priced_variant(5, "12.50", "EUR").await,
            app.client.priced_variant(3, "2", "EUR").await,
        );
        let reply = hold(&app.client, "ann", &[(a, 2), (b, 3), (a, 1)]).await.expect(201);
        let hold = reply.json();
        assert_eq!(
            (&hold["state"], &hold["user_id"], &hold["total"]),
            (&json!("held"), &json!("ann"), &json!("43.50"))
        );
        assert_eq!(
            (&hold["lines"][1]["unit_price"], &hold["lines"][1]["line_total"]),
            (&json!("2.00"), &json!("6.00"))
        );
        assert_eq!((&hold["lock"]["mode"], reply.header("lock-mode")), (&json!(mode), Some(mode)));
        assert_eq!((level(&app.client, a).await, level(&app.client, b).await), ([5, 3, 2], [3, 3, 0]));
        let short = app.client.decrement(b, 1).await;
        assert_eq!((short.status.as_u16(), short.code().as_str()), (409, "insufficient_stock"));
        assert_eq!(app.client.order("bob", &unique("key"), &[(a, 3)]).await.code(), "insufficient_stock");
        app.client.order("bob", &unique("key"), &[(a, 2)]).await.expect(201);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_lines_are_held_or_none_and_a_short_one_is_named() {
    let app = TestApp::start().await;
    let (a, b) = (app.client.variant(5).await, app.client.variant(1).await);
    let short = hold(&app.client, "ann", &[(a, 1), (b, 2)]).await;
    assert_eq!((short.status.as_u16(), short.code().as_str()), (409, "insufficient_stock"));
    assert_eq!(short.json()["errors"][0]["field"], "lines[1].quantity");
    let unknown = hold(&app.client, "ann", &[(a, 1), (Uuid::new_v4(), 2)]).await;
    assert_eq!(unknown.code(), "variant_not_found");
    let mixed = app.client.priced_variant(1, "1", "USD").await;
    assert_eq!(hold(&app.client, "ann", &[(a, 1), (mixed, 1)]).await.code(), "currency_mismatch");
    assert_eq!((level(&app.client, a).await, app.count("holds").await), ([5, 0, 5], 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_needs_a_key_and_one_key_holds_once() {
    let app = TestApp::start().await;
    let variant = app.client.variant(5).await;
    let body =
        json!({"user_id": "ann", "lines": [{"variant_id": variant, "quantity": 2}], "ttl_seconds": 60});
    assert_eq!(app.client.post("/holds", &body).await.code(), "idempotency_key_missing");
    let key = unique("hold");
    let replies = at_once(8, |_| {
        let (client, body, key) = (app.client.clone(), body.clone(), key.clone());
        async move { client.post_keyed("/holds", &body, &key).await.expect(201) }
    })
    .await;
    assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes));
    assert_eq!(level(&app.client, variant).await, [5, 2, 3]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_or_a_number_of_lines_out_of_range_is_refused_by_its_name() {
    let app = TestApp::start().await;
    let variant = app.client.variant(5).await;
    let line = json!({"variant_id": variant, "quantity": 1});
    for (field, value) in [
        ("ttl_seconds", json!(9)),
        ("ttl_seconds", json!(3_601)),
        ("ttl_seconds", json!("60")),
        ("lines", json!([])),
        ("user_id", json!("a b")),
    ] {
        let mut body = json!({"user_id": "ann", "lines": [line]});
        body[field] = value;
        let refused = app.client.post_keyed("/holds", &body, &unique("hold")).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["field"]), (422, &json!(field)));
    }
    assert_eq!(app.count("holds").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_twenty_live_holds_at_most_however_many_ask_at_once() {
    let app = TestApp::start().await;
    let variants: Vec<_> = app.variants(30, 5).await;
    let replies = at_once(30, |n| {
        let (client, variant) = (app.client.clone(), variants[n]);
        async move { hold(&client, "ann", &[(variant, 1)]).await }
    })
    .await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert_eq!((replies.iter().filter(|reply| reply.status == 201).count(), refused.len()), (20, 10));
    assert!(
        refused.iter().all(|reply| reply.code() == "too_many_holds" && reply.header("retry-after").is_some())
    );
    hold(&app.client, "bob", &[(variants[0], 1)]).await.expect(201);
    let one = replies.iter().find(|reply| reply.status == 201).unwrap().json();
    resolve(&app.client, &one, "release", &json!({})).await.expect(200);
    held(&app, &[(variants[0], 1)]).await;
    app.finish().await;
}
