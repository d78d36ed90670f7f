//! What is told of a lock that is held.

use serde_json::json;

use super::{assert_adds_up, names};
use crate::operations::{lock, open_section, start, status};
use crate::support::row::until_at_a_row;
use crate::support::stranger::{inventory_lock, order_lock};
use crate::support::{HeldRow, Private, Stranger};

#[tokio::test]
async fn an_idle_service_holds_nothing_and_says_so_field_by_field() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let reply = app.client.get("/locks/status").await.expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let told = reply.json();
    assert_eq!(
        told,
        json!({
            "lock_service_available": true, "lock_mode": "two_layer",
            "breaker": {"state": "closed", "failures": 0, "opened_at": null, "history": []},
            "timestamp": told["timestamp"],
            "total_active_locks": 0, "inventory_locks": 0, "custom_locks": 0, "waiters": 0, "locks": [],
            "database_available": true, "database_waits": [],
        })
    );
    app.finish().await;
}

#[tokio::test]
async fn a_section_that_runs_is_shown_without_its_token_and_is_gone_when_it_ends() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let (row, sale) = open_section(&app, variant).await;

    let reply = app.client.get("/locks/status").await.expect(200);
    let told = reply.json();
    assert_adds_up(&told);
    let held = lock(&told, &key).expect("the lock is listed");
    assert_eq!(
        names(held),
        ["class", "expires_at", "held_ms", "key", "owner", "replica", "ttl", "ttl_ms", "type", "waiters"]
    );
    assert!(held["held_ms"].is_u64(), "{held}");
    assert_eq!((&held["type"], &held["class"]), (&json!("inventory_lock"), &json!("inventory")));
    assert_eq!((&told["inventory_locks"], &told["custom_locks"]), (&json!(1), &json!(0)));
    assert!((1..=30_000).contains(&held["ttl_ms"].as_u64().unwrap()), "{held}");
    assert_eq!((&held["waiters"], &told["waiters"]), (&json!(0), &json!(0)));

    let token = stranger.holder(&key).await.unwrap();
    assert_eq!(held["replica"], token[..8]);
    let owner = held["owner"].as_str().unwrap();
    assert!(owner.len() == 16 && owner.bytes().all(|byte| byte.is_ascii_hexdigit()), "{owner}");
    let whole = String::from_utf8(reply.bytes.to_vec()).unwrap();
    // Not even so much of it that the rest could be guessed.
    assert!(!token.contains(owner) && !whole.contains(&token[32..64]), "{whole}");
    assert_eq!(
        lock(&status(&app.client).await, &key).unwrap()["owner"],
        owner,
        "a second look sees the same"
    );

    row.let_go().await;
    sale.await.unwrap().expect(200);
    let told = status(&app.client).await;
    assert_eq!((&told["total_active_locks"], &told["locks"]), (&json!(0), &json!([])));
    app.finish().await;
}

#[tokio::test]
async fn the_lock_of_an_order_counts_as_custom_beside_those_of_its_variants() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let (one, two) = (app.client.variant(10).await, app.client.variant(10).await);
    let row = HeldRow::of(&app.database, one).await;
    let client = app.client.clone();
    // All that a user's id and a key may consist of.
    let (user, key) = (r#"a%2F{b}"'\/<u>"#, r#""k}{%00;--"#);
    let order = tokio::spawn(async move { client.order(user, key, &[(one, 1), (two, 1)]).await });
    until_at_a_row(&app.database.pool, 1).await;

    let told = status(&app.client).await;
    assert_adds_up(&told);
    assert_eq!((&told["inventory_locks"], &told["custom_locks"]), (&json!(2), &json!(1)), "{told}");
    let of_order = lock(&told, &order_lock(user, key)).expect("its name is told as it is");
    assert_eq!((&of_order["type"], &of_order["class"]), (&json!("custom_lock"), &json!("order")));
    assert!((30_000..=60_000).contains(&of_order["ttl_ms"].as_u64().unwrap()), "{of_order}");
    for variant in [one, two] {
        assert_eq!(lock(&told, &inventory_lock(variant)).unwrap()["owner"], of_order["owner"]);
    }
    row.let_go().await;
    order.await.unwrap().expect(201);
    app.finish().await;
}
