//! Several changes in one call.

use holdfast::http::auth::Scope;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, Reply, TestApp, at_once};

async fn batch(client: &Client, mode: &str, operations: &Value) -> Reply {
    client.post("/inventory/batch", &json!({"mode": mode, "operations": operations})).await
}

fn sell(variant: Uuid, quantity: i64) -> Value {
    json!({"op": "decrement", "variant_id": variant, "quantity": quantity})
}

fn statuses(reply: &Reply) -> Vec<u64> {
    reply.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_in_the_order_it_was_asked_with_every_movement() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let (a, b) = (app.client.variant(10).await, app.client.variant(20).await);
        let operations = json!([
            {"op": "increment", "variant_id": b, "quantity": 2, "reason": "back"},
            {"op": "adjust", "variant_id": a, "delta": -3, "reason": "broken", "reference": "sheet", "change_from": 10},
            {"op": "decrement", "variant_id": b, "quantity": 5},
        ]);
        let reply = batch(&app.client, "atomic", &operations).await.expect(200);
        let answer = reply.json();
        let lock = json!({"mode": mode, "wait_ms": answer["lock"]["wait_ms"]});
        let movement = |index: usize, fields: Value| {
            let mut movement = answer["results"][index]["movement"].clone();
            assert_eq!(movement["lock"], lock);
            for name in ["movement_id", "created_at", "lock"] {
                assert!(movement.as_object_mut().unwrap().remove(name).is_some());
            }
            assert_eq!(movement, fields);
        };
        movement(
            0,
            json!({"variant_id": b, "version": 2, "kind": "return", "delta": 2, "previous_quantity": 20,
                           "new_quantity": 22, "reason": "back", "reference": null}),
        );
        movement(
            1,
            json!({"variant_id": a, "version": 2, "kind": "adjustment", "delta": -3, "previous_quantity": 10,
                           "new_quantity": 7, "reason": "broken", "reference": "sheet"}),
        );
        movement(
            2,
            json!({"variant_id": b, "version": 3, "kind": "sale", "delta": -5, "previous_quantity": 22,
                           "new_quantity": 17, "reason": null, "reference": null}),
        );
        assert_eq!(statuses(&reply), [200, 200, 200]);
        assert_eq!((reply.header("lock-mode"), &answer["lock"]), (Some(mode), &lock));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_batch_that_can_not_be_done_whole_is_not_done_and_names_all_that_fails() {
    let app = TestApp::start().await;
    let (a, b, unknown) = (app.client.variant(10).await, app.client.variant(1).await, Uuid::now_v7());
    let short = batch(&app.client, "atomic", &json!([sell(a, 1), sell(b, 2), sell(b, 3)])).await.expect(409);
    assert_eq!(short.code(), "insufficient_stock");
    let entry = |index: usize, requested: i64| {
        json!({"field": format!("operations[{index}].quantity"), "code": "insufficient_stock", "variant_id": b,
               "message": format!("Insufficient stock. Available: 1, Requested: {requested}"),
               "requested": requested, "available": 1})
    };
    assert_eq!(short.json()["errors"], json!([entry(1, 2), entry(2, 3)]));

    let operations = json!([
        sell(a, 1), sell(unknown, 1), sell(b, 2),
        {"op": "adjust", "variant_id": a, "delta": 1, "reason": "r", "change_from": 99},
        {"op": "adjust", "variant_id": b, "delta": -9, "reason": "r"},
    ]);
    let mixed = batch(&app.client, "atomic", &operations).await.expect(409);
    assert_eq!(mixed.code(), "batch_refused");
    let errors = mixed.json()["errors"].clone();
    let named: Vec<_> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["field"].as_str().unwrap(), e["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        named,
        [
            ("operations[1].variant_id", "variant_not_found"),
            ("operations[2].quantity", "insufficient_stock"),
            ("operations[3].change_from", "stale_quantity"),
            ("operations[4].delta", "insufficient_stock"),
        ]
    );
    assert_eq!(errors[2]["actual"], 9, "as the operations before it would leave it");
    assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (10, 1));
    assert_eq!(app.count("stock_movements").await, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_batch_does_what_can_be_done() {
    let app = TestApp::start().await;
    let (a, b, unknown) = (app.client.variant(10).await, app.client.variant(1).await, Uuid::now_v7());
    let operations = json!([sell(b, 2), sell(a, 1), sell(unknown, 1), sell(b, 1)]);
    let reply = batch(&app.client, "independent", &operations).await.expect(200);
    assert_eq!(statuses(&reply), [409, 200, 404, 200]);
    let results = reply.json()["results"].clone();
    assert_eq!(
        results[0],
        json!({"status": 409, "error": {"code": "insufficient_stock",
               "detail": "Insufficient stock. Available: 1, Requested: 2",
               "errors": [{"field": "quantity", "message": "Insufficient stock. Available: 1, Requested: 2",
                           "variant_id": b, "requested": 2, "available": 1}]}})
    );
    assert_eq!(results[2]["error"]["code"], "variant_not_found");
    assert_eq!(results[3]["movement"]["new_quantity"], 0);
    assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (9, 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_on_one_variant_follow_one_another() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let back = json!({"op": "increment", "variant_id": id, "quantity": 5});
    let reply =
        batch(&app.client, "atomic", &json!([sell(id, 5), back, sell(id, 5), back])).await.expect(200);
    let seen: Vec<_> = reply.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            (
                result["movement"]["version"].as_i64().unwrap(),
                result["movement"]["new_quantity"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(seen, [(2, 0), (3, 5), (4, 0), (5, 5)]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_with_a_key_is_done_once_whichever_batch_it_comes_in() {
    let app = TestApp::start().await;
    let id = app.client.variant(10).await;
    let keyed =
        |quantity: i64| json!({"op": "decrement", "variant_id": id, "quantity": quantity, "key": "op-1"});
    let first = batch(&app.client, "atomic", &json!([keyed(2), sell(id, 1)])).await.expect(200).json();
    let again = batch(&app.client, "independent", &json!([sell(id, 1), keyed(2)])).await.expect(200).json();
    assert_eq!(again["results"][1]["movement"], first["results"][0]["movement"]);
    assert_eq!(
        (&first["results"][0]["replayed"], &again["results"][1]["replayed"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(app.client.on_hand(id).await, 6);

    // The key of one operation is not that of another: alone it is told so, with others nothing is done.
    let other = batch(&app.client, "independent", &json!([keyed(3), sell(id, 1)])).await.expect(200);
    assert_eq!(statuses(&other), [422, 200]);
    assert_eq!(other.json()["results"][0]["error"]["code"], "idempotency_key_reused");
    let whole = batch(&app.client, "atomic", &json!([sell(id, 1), keyed(3)])).await.expect(409);
    let error = &whole.json()["errors"][0];
    assert_eq!(
        (whole.code().as_str(), &error["field"], &error["code"]),
        ("batch_refused", &json!("operations[1].key"), &json!("idempotency_key_reused"))
    );
    assert_eq!(app.client.on_hand(id).await, 5);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_a_keyed_operation_is_kept_in_an_independent_batch() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(1).await;
    let operations = json!([{"op": "decrement", "variant_id": id, "quantity": 2, "key": "op-1"}]);
    let first = batch(&app.client, "independent", &operations).await.expect(200).json();
    app.client.post(&format!("/inventory/{id}/increment"), &json!({"quantity": 5})).await.expect(200);
    let again = batch(&app.client, "independent", &operations).await.expect(200).json();
    assert_eq!(again["results"][0]["error"], first["results"][0]["error"]);
    assert_eq!(
        (&again["results"][0]["status"], &again["results"][0]["replayed"]),
        (&json!(409), &json!(true))
    );
    assert_eq!(app.client.on_hand(id).await, 6);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_found_no_variant_or_no_room_leaves_its_key_free() {
    let app = TestApp::start().await;
    let full = app.client.variant(9_000_000_000_000).await;
    let back = |variant: Uuid, key: &str| json!({"op": "increment", "variant_id": variant, "quantity": 1, "key": key});
    let operations = json!([back(Uuid::now_v7(), "nobody"), back(full, "full"), sell(full, 1)]);
    let reply = batch(&app.client, "independent", &operations).await.expect(200);
    assert_eq!(statuses(&reply), [404, 422, 200]);
    assert_eq!(app.count("idempotency_keys").await, 0);
    let again = batch(&app.client, "independent", &json!([back(full, "nobody"), back(full, "full")]))
        .await
        .expect(200);
    assert_eq!(statuses(&again), [200, 422]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_share_operations_do_each_of_them_once() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variants = app.variants(10, 100).await;
        let replies = at_once(20, |runner| {
            let (client, mut variants) = (app.client.clone(), variants.clone());
            variants.rotate_left(runner % 10);
            let operations: Vec<_> = variants
                .iter()
                .map(|id| json!({"op": "decrement", "variant_id": id, "quantity": 1, "key": format!("sell-{id}")}))
                .collect();
            let mode = if runner % 2 == 0 { "atomic" } else { "independent" };
            async move { batch(&client, mode, &json!(operations)).await.expect(200) }
        })
        .await;
        let results = replies.iter().flat_map(|reply| reply.json()["results"].as_array().unwrap().clone());
        let done: Vec<_> = results.filter(|result| result["replayed"] != json!(true)).collect();
        assert_eq!(done.len(), 10);
        for variant in variants {
            assert_eq!(app.client.on_hand(variant).await, 99);
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_atomic_batch_leaves_the_keys_of_its_operations_free_and_keeps_its_own() {
    let app = TestApp::start().await;
    let (a, b) = (app.client.variant(10).await, app.client.variant(1).await);
    let keyed =
        |quantity: i64| json!({"op": "decrement", "variant_id": a, "quantity": quantity, "key": "op-1"});
    let body = json!({"mode": "atomic", "operations": [keyed(2), sell(b, 2)]});
    let refused = app.client.post_keyed("/inventory/batch", &body, "batch-1").await.expect(409);
    assert_eq!(app.count("idempotency_keys").await, 1);
    let again = app.client.post_keyed("/inventory/batch", &body, "batch-1").await.expect(409);
    assert!(again.was_replayed() && again.bytes == refused.bytes);
    // Another operation may have the key now: nothing was done under it.
    let reply = batch(&app.client, "atomic", &json!([keyed(3)])).await.expect(200);
    assert_eq!(reply.json()["results"][0]["replayed"], Value::Null);
    assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (7, 1));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_stand_once_in_a_batch_and_must_be_a_key() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    let before = app.everything().await;
    let keyed = |key: &str| json!({"op": "decrement", "variant_id": id, "quantity": 1, "key": key});
    for keys in [vec!["same", "same"], vec!["fine", ""], vec!["fine", "with space"], vec!["fine", "ä"]] {
        let operations: Vec<_> = keys.iter().map(|key| keyed(key)).collect();
        let reply = batch(&app.client, "independent", &json!(operations)).await.expect(422);
        assert_eq!(reply.code(), "validation_failed");
        assert_eq!(reply.json()["errors"][0]["field"], "operations[1].key", "{keys:?}");
    }
    let its_own = json!({"mode": "independent", "operations": [keyed("same")]});
    let both = app.client.post_keyed("/inventory/batch", &its_own, "same").await.expect(422);
    assert_eq!(both.json()["errors"][0]["field"], "operations[0].key");
    let long = batch(&app.client, "atomic", &json!([keyed(&"k".repeat(256))])).await.expect(422);
    assert_eq!(long.json()["errors"][0]["field"], "operations[0].key");
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_operations_are_done_at_once_and_not_one_more_or_none() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variants = app.variants(999, 3).await;
        let mut operations: Vec<_> = variants.iter().map(|variant| sell(*variant, 1)).collect();
        operations.push(sell(variants[0], 2));
        let reply = batch(&app.client, "atomic", &json!(operations)).await.expect(200);
        assert_eq!(statuses(&reply), vec![200; 1000]);
        assert_eq!((app.client.on_hand(variants[0]).await, app.client.on_hand(variants[998]).await), (0, 2));

        operations.push(sell(variants[1], 1));
        for refused in [json!(operations), json!([])] {
            let reply = batch(&app.client, "independent", &refused).await.expect(422);
            assert_eq!(reply.code(), "validation_failed");
            assert_eq!(reply.json()["errors"][0]["field"], "operations");
        }
        assert_eq!(app.count("stock_movements").await, 999 + 1000);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_has_the_fields_of_its_verb_and_no_others() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    for (operation, field) in [
        (json!({"op": "decrement", "variant_id": id}), "quantity"),
        (json!({"op": "decrement", "variant_id": id, "quantity": 1, "delta": 1}), "delta"),
        (json!({"op": "increment", "variant_id": id, "quantity": 1, "change_from": 1}), "change_from"),
        (json!({"op": "adjust", "variant_id": id, "reason": "r"}), "delta"),
        (json!({"op": "adjust", "variant_id": id, "delta": 1}), "reason"),
        (json!({"op": "adjust", "variant_id": id, "delta": 1, "reason": "r", "quantity": 1}), "quantity"),
        (json!({"op": "double", "variant_id": id, "quantity": 1}), "op"),
        (json!({"op": "decrement", "variant_id": id, "quantity": 0}), "quantity"),
    ] {
        let reply = batch(&app.client, "independent", &json!([sell(id, 1), operation])).await.expect(422);
        assert_eq!(reply.code(), "validation_failed");
        assert_eq!(reply.json()["errors"][0]["field"], format!("operations[1].{field}"), "{operation}");
    }
    assert_eq!(
        batch(&app.client, "perhaps", &json!([sell(id, 1)])).await.expect(422).json()["errors"][0]["field"],
        "mode"
    );
    assert_eq!(app.client.on_hand(id).await, 10);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_needs_the_scope_of_its_verb() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    let adjust = json!({"op": "adjust", "variant_id": id, "delta": -1, "reason": "r"});
    let back = json!({"op": "increment", "variant_id": id, "quantity": 1});
    let shop = app.client_of("shop", &[Scope::Storefront]).await;
    let depot = app.client_of("depot", &[Scope::Warehouse]).await;
    let both = app.client_of("both", &[Scope::Storefront, Scope::Warehouse]).await;
    for (client, operation, status) in [
        (&shop, sell(id, 1), 200),
        (&shop, back.clone(), 200),
        (&shop, adjust.clone(), 403),
        (&depot, sell(id, 1), 403),
        (&depot, back, 403),
        (&depot, adjust.clone(), 200),
    ] {
        let reply = batch(client, "independent", &json!([operation])).await.expect(status);
        assert!(status == 200 || reply.code() == "forbidden");
    }
    batch(&both, "atomic", &json!([adjust, sell(id, 1)])).await.expect(200);
    assert_eq!(app.client.on_hand(id).await, 7);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_over_the_same_variants_in_opposite_orders_all_end() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variants = app.variants(10, 100).await;
        let replies = at_once(20, |runner| {
            let (client, mut variants) = (app.client.clone(), variants.clone());
            if runner % 2 == 0 {
                variants.reverse();
            }
            let operations: Vec<_> = variants.iter().map(|variant| sell(*variant, 1)).collect();
            async move { batch(&client, "atomic", &json!(operations)).await }
        })
        .await;
        assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
        for variant in variants {
            assert_eq!(app.client.on_hand(variant).await, 80);
        }
        app.finish().await;
    }
}
