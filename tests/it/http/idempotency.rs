//! One effect a key: the contract of the Idempotency-Key, held against every call that takes one.

use std::sync::Arc;

use holdfast::http::auth::Scope;
use holdfast::purge::{Purged, purge};
use hyper::Method;
use serde_json::{Value, json};

use crate::support::books::claim;
use crate::support::client::order_body;
use crate::support::{Client, Reply, TestApp, at_once, send_raw, shared_redis, unique};

/// A call that can be made with a key, in a shop where it succeeds.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) path: String,
    pub(super) body: Value,
    /// Another request to the same path that would succeed too.
    pub(super) other: Value,
    /// How many movements it makes.
    movements: i64,
    /// For whom, where the path says so.
    user: String,
}

impl Call {
    pub(super) async fn make(&self, client: &Client, key: &str) -> Reply {
        client.post_keyed(&self.path, &self.body, key).await
    }
}

/// Every call that takes a key, each with a variant of its own.
pub(super) async fn calls(app: &TestApp) -> Vec<Call> {
    // A capture's key and an order's are keys of their users: of two, here.
    let (mut calls, user, holder) = (Vec::new(), unique("ann"), unique("bob"));
    let mut add = |name, path: String, body, other, movements| {
        calls.push(Call { name, path, body, other, movements, user: holder.clone() });
    };
    let quantity = |quantity: i64| json!({"quantity": quantity});
    for verb in ["decrement", "increment"] {
        let id = app.client.variant(50).await;
        add(verb, format!("/inventory/{id}/{verb}"), quantity(1), quantity(2), 1);
    }
    let id = app.client.variant(50).await;
    let adjust = |delta: i64| json!({"delta": delta, "reason": "recount"});
    add("adjust", format!("/inventory/{id}/adjust"), adjust(-1), adjust(1), 1);
    for mode in ["atomic", "independent"] {
        let id = app.client.variant(50).await;
        let operation = json!({"op": "decrement", "variant_id": id, "quantity": 1});
        let batch = |times| json!({"mode": mode, "operations": vec![operation.clone(); times]});
        add(mode, "/inventory/batch".to_owned(), batch(2), batch(1), 2);
    }
    let id = app.client.variant(50).await;
    let check = |quantity: i64| json!([{"variant_id": id, "quantity": quantity}]);
    add("check stock", "/inventory/check-stock/bulk".to_owned(), check(1), check(2), 0);
    let variant = || json!({"sku": unique("s"), "name": "n", "price": "1", "currency": "EUR", "on_hand": 1});
    add("create variant", "/variants".to_owned(), variant(), variant(), 1);
    add("order", "/orders".to_owned(), order_body(&user, &[(id, 1)]), order_body(&user, &[(id, 2)]), 1);
    let order = app.client.order("ann", &unique("k"), &[(id, 5)]).await.expect(201).json();
    let some =
        |quantity: i64| json!({"lines": [{"line_id": order["lines"][0]["line_id"], "quantity": quantity}]});
    add("cancel", format!("/orders/{}/cancel", order["order_id"].as_str().unwrap()), some(1), some(2), 1);
    add("hold", "/holds".to_owned(), order_body(&user, &[(id, 1)]), order_body(&user, &[(id, 2)]), 0);
    let hold =
        app.client.post_keyed("/holds", &order_body(&holder, &[(id, 5)]), &unique("k")).await.expect(201);
    let hold = hold.json();
    let path = |verb: &str| format!("/holds/{}/{verb}", hold["hold_id"].as_str().unwrap());
    let seconds = |seconds: i64| json!({"ttl_seconds": seconds});
    add("extend", path("extend"), seconds(600), seconds(900), 0);
    let some =
        |quantity: i64| json!({"lines": [{"line_id": hold["lines"][0]["line_id"], "quantity": quantity}]});
    add("capture", path("capture"), some(1), some(2), 1);
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_is_given_again_byte_for_byte_and_nothing_is_done_again() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        for call in calls(&app).await {
            let before = app.count("stock_movements").await;
            let first = call.make(&app.client, "key").await;
            assert!(first.status.is_success() && !first.was_replayed(), "{}: {first:?}", call.name);
            let after = app.everything().await;
            assert_eq!(after[0], before + call.movements, "{}", call.name);

            let again = call.make(&app.client, "key").await;
            assert!(again.was_replayed(), "{}", call.name);
            assert_eq!((again.status, &again.bytes), (first.status, &first.bytes), "{}", call.name);
            assert_eq!(again.header("content-type"), first.header("content-type"));
            let guarded = |reply: &Reply| reply.header("lock-mode").map(str::to_owned);
            assert_eq!(guarded(&again), guarded(&first), "{}", call.name);

            // Neither quotes around the key nor the body's layout make another request of it.
            let layout = serde_json::to_string_pretty(&call.body).unwrap();
            let headers = [("content-type", "application/json"), ("idempotency-key", "\"key\"")];
            let path = format!("/api/v1{}", call.path);
            let quoted = app.client.send(Method::POST, &path, &headers, layout).await.unwrap();
            assert!(quoted.was_replayed() && quoted.bytes == first.bytes, "{}: {quoted:?}", call.name);
            assert_eq!(app.everything().await, after, "{}", call.name);
            sqlx::query("DELETE FROM idempotency_keys").execute(&app.database.pool).await.unwrap();
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_written_in_capitals_makes_no_other_request() {
    let app = TestApp::start().await;
    let id = app.client.variant(5).await;
    let body = json!({"quantity": 1});
    let first = app.client.post_keyed(&format!("/inventory/{id}/decrement"), &body, "key").await.expect(200);
    let capitals = id.to_string().to_uppercase();
    let again =
        app.client.post_keyed(&format!("/inventory/{capitals}/decrement"), &body, "key").await.expect(200);
    assert!(again.was_replayed() && again.bytes == first.bytes);
    assert_eq!(app.client.on_hand(id).await, 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_not_be_used_for_another_request() {
    let app = TestApp::start().await;
    let calls = calls(&app).await;
    for (index, call) in calls.iter().enumerate() {
        let key = format!("key-{index}");
        call.make(&app.client, &key).await;
        let before = app.everything().await;
        let other = app.client.post_keyed(&call.path, &call.other, &key).await.expect(422);
        assert_eq!(
            (other.code().as_str(), other.was_replayed()),
            ("idempotency_key_reused", false),
            "{}",
            call.name
        );
        assert_eq!(app.everything().await, before, "{}", call.name);
        // It is still the first request's key.
        assert!(call.make(&app.client, &key).await.was_replayed(), "{}", call.name);
    }
    let (decrement, increment) = (&calls[0], &calls[1]);
    let elsewhere = app.client.post_keyed(&increment.path, &decrement.body, "key-0").await.expect(422);
    assert_eq!(elsewhere.code(), "idempotency_key_reused");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_with_one_key_one_is_carried_out_and_all_get_its_answer() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        for call in calls(&app).await {
            let before = app.count("stock_movements").await;
            let (shared, key) = (Arc::new(call.clone()), unique("key"));
            let replies = at_once(20, |_| {
                let (client, call, key) = (app.client.clone(), shared.clone(), key.clone());
                async move { call.make(&client, &key).await }
            })
            .await;
            let done = replies.iter().filter(|reply| !reply.was_replayed()).count();
            assert_eq!(done, 1, "{}: {replies:?}", call.name);
            for reply in &replies {
                assert!(reply.status.is_success(), "{}: {reply:?}", call.name);
                assert_eq!(
                    (reply.status, &reply.bytes),
                    (replies[0].status, &replies[0].bytes),
                    "{}",
                    call.name
                );
            }
            assert_eq!(app.count("stock_movements").await, before + call.movements, "{}", call.name);
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_orders_and_holds_needs_a_key_and_the_other_calls_do_not() {
    let app = TestApp::without_redis().await;
    for call in calls(&app).await {
        let before = app.everything().await;
        let reply = app.client.post(&call.path, &call.body).await;
        if ["order", "hold", "capture"].contains(&call.name) {
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "idempotency_key_missing"));
            assert_eq!(app.everything().await, before);
        } else {
            assert!(reply.status.is_success() && !reply.was_replayed(), "{}: {reply:?}", call.name);
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_refused_by_every_call_and_nothing_is_done() {
    let app = TestApp::without_redis().await;
    let calls = calls(&app).await;
    let before = app.everything().await;
    let (long, page) = ("k".repeat(256), "k".repeat(10_000));
    for call in &calls {
        for key in ["", "\"\"", "a b", "a\tb", &long, &page, &format!("\"{long}\"")] {
            let reply = call.make(&app.client, key).await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (400, "idempotency_key_invalid"),
                "{} {key:?}",
                call.name
            );
        }
        let authorization = format!("authorization: Bearer {}", app.client.key);
        for keys in [
            &[b"idempotency-key: caf\xc3\xa9".as_slice()][..],
            &[b"idempotency-key: one", b"idempotency-key: two"],
        ] {
            let mut headers = vec![authorization.as_bytes(), b"content-type: application/json"];
            headers.extend_from_slice(keys);
            let first_line = format!("POST /api/v1{}", call.path);
            let (status, answer) =
                send_raw(app.client.address, &first_line, &headers, call.body.to_string().as_bytes()).await;
            assert!(status == 400 && answer.contains("idempotency_key_invalid"), "{}: {answer}", call.name);
        }
    }
    assert_eq!(app.everything().await, before);
    for (index, call) in calls.iter().enumerate() {
        let longest = format!("{index:03}{}", "~!".repeat(126));
        assert_eq!(longest.len(), 255);
        assert!(call.make(&app.client, &longest).await.status.is_success(), "{}", call.name);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_kept_and_stays_the_answer_when_it_would_no_longer_be_given() {
    let app = TestApp::start().await;
    let id = app.client.variant(1).await;
    let order = app.client.order("ann", &unique("k"), &[(id, 1)]).await.expect(201).json();
    let (line, inventory) = (&order["lines"][0]["line_id"], format!("/inventory/{id}"));
    let cancel = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
    app.client
        .post("/variants", &json!({"sku": "taken", "name": "n", "price": "1", "currency": "EUR"}))
        .await
        .expect(201);
    let operations = json!([{"op": "decrement", "variant_id": id, "quantity": 3}]);
    let mut expecting = order_body(&unique("bob"), &[(id, 1)]);
    expecting["expected_total"] = json!("1.00");
    let refused = [
        (format!("{inventory}/decrement"), json!({"quantity": 3}), "insufficient_stock"),
        (format!("{inventory}/adjust"), json!({"delta": -3, "reason": "r"}), "insufficient_stock"),
        (
            format!("{inventory}/adjust"),
            json!({"delta": 1, "reason": "r", "change_from": 7}),
            "stale_quantity",
        ),
        (
            "/inventory/batch".to_owned(),
            json!({"mode": "atomic", "operations": operations}),
            "insufficient_stock",
        ),
        (
            "/variants".to_owned(),
            json!({"sku": "taken", "name": "n", "price": "1", "currency": "EUR"}),
            "sku_taken",
        ),
        ("/orders".to_owned(), order_body(&unique("bob"), &[(id, 3)]), "insufficient_stock"),
        ("/orders".to_owned(), expecting, "total_changed"),
        (cancel, json!({"lines": [{"line_id": line, "quantity": 2}]}), "cancel_exceeds_ordered"),
    ];
    let mut first = Vec::new();
    for (index, (path, body, code)) in refused.iter().enumerate() {
        let reply = app.client.post_keyed(path, body, &format!("key-{index}")).await.expect(409);
        assert_eq!((reply.code().as_str(), reply.was_replayed()), (*code, false), "{path}");
        first.push(reply);
    }
    app.client.post(&format!("{inventory}/increment"), &json!({"quantity": 7})).await.expect(200);
    let before = app.everything().await;
    for (index, (path, body, _)) in refused.iter().enumerate() {
        let again = app.client.post_keyed(path, body, &format!("key-{index}")).await.expect(409);
        assert!(again.was_replayed() && again.bytes == first[index].bytes, "{path}: {again:?}");
        assert_eq!(again.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_wrong_or_not_found_leaves_the_key_free() {
    let app = TestApp::start().await;
    let nobody = "00000000-0000-7000-8000-000000000000";
    for call in calls(&app).await {
        let mut wrong = call.body.clone();
        match &mut wrong {
            Value::Object(fields) => drop(fields.insert("no_such_field".to_owned(), json!(1))),
            list => *list = json!([]),
        }
        let mut tries = vec![(call.path.clone(), wrong)];
        match call.name {
            "decrement" | "increment" | "adjust" => {
                tries.push((format!("/inventory/{nobody}/{}", call.name), call.body.clone()));
            }
            "cancel" => tries.push((format!("/orders/{nobody}/cancel"), call.body.clone())),
            "order" => {
                let (mut unknown, mut dollars) = (call.body.clone(), call.body.clone());
                unknown["lines"][0]["variant_id"] = json!(nobody);
                dollars["currency"] = json!("USD");
                tries.extend([(call.path.clone(), unknown), (call.path.clone(), dollars)]);
            }
            _ => {}
        }
        let before = app.count("idempotency_keys").await;
        for (path, body) in tries {
            let reply = app.client.post_keyed(&path, &body, "key").await;
            assert!(matches!(reply.status.as_u16(), 404 | 422), "{}: {reply:?}", call.name);
            assert_eq!(app.count("idempotency_keys").await, before, "{}", call.name);
        }
        let reply = call.make(&app.client, "key").await;
        assert!(reply.status.is_success() && !reply.was_replayed(), "{}: {reply:?}", call.name);
        sqlx::query("DELETE FROM idempotency_keys").execute(&app.database.pool).await.unwrap();
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_found_the_item_busy_may_try_again_with_the_same_key() {
    let settings = [("HOLDFAST_LOCK_WAIT_MS", "50")];
    let app =
        TestApp::with(crate::support::TestDatabase::fresh().await, Some(&shared_redis()), &settings).await;
    let id = app.client.variant(50).await;
    let (path, body) = (format!("/inventory/{id}/decrement"), json!({"quantity": 1}));
    let order = order_body(&unique("ann"), &[(id, 1)]);
    let mut redis =
        redis::Client::open(shared_redis()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let lock = format!("inventory_lock:{id}");
    let set = redis::cmd("SET").arg(&lock).arg("another program").arg("PX").arg(60_000).to_owned();
    set.exec_async(&mut redis).await.unwrap();
    let before = app.everything().await;
    for (path, body) in [(path.as_str(), &body), ("/orders", &order)] {
        let busy = app.client.post_keyed(path, body, "key").await.expect(429);
        assert_eq!(busy.code(), "lock_timeout");
        assert!(busy.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(app.everything().await, before);
    // A key whose answer is no longer kept is in nobody's hands.
    redis::cmd("DEL").arg(&lock).exec_async(&mut redis).await.unwrap();
    app.client.post_keyed(&path, &body, "an-old-key").await.expect(200);
    app.age_answers().await;
    set.exec_async(&mut redis).await.unwrap();
    assert_eq!(app.client.post_keyed(&path, &body, "an-old-key").await.expect(429).code(), "lock_timeout");
    redis::cmd("DEL").arg(&lock).exec_async(&mut redis).await.unwrap();
    for (path, body) in [(path.as_str(), &body), ("/orders", &order)] {
        let reply = app.client.post_keyed(path, body, "key").await;
        assert!(reply.status.is_success() && !reply.was_replayed(), "{reply:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_and_two_subjects_may_use_the_same_key() {
    let app = TestApp::start().await;
    let id = app.client.variant(50).await;
    let (ann, bob, key) = (unique("ann"), unique("bob"), "the-same");
    let orders =
        [app.client.order(&ann, key, &[(id, 1)]).await, app.client.order(&bob, key, &[(id, 2)]).await];
    for order in &orders {
        assert!(!order.clone().expect(201).was_replayed());
    }
    let (shop, till) =
        (app.client_of(&ann, &[Scope::Storefront]).await, app.client_of("till", &[Scope::Storefront]).await);
    for client in [&shop, &till] {
        let reply = client
            .post_keyed(&format!("/inventory/{id}/decrement"), &json!({"quantity": 3}), key)
            .await
            .expect(200);
        assert!(!reply.was_replayed(), "the key of {ann}'s order is not that of a subject of that name");
    }
    // An order's key is its user's, whoever sends it.
    let again = till.order(&ann, key, &[(id, 1)]).await.expect(201);
    assert!(again.was_replayed() && again.bytes == orders[0].bytes);
    assert_eq!(app.client.on_hand(id).await, 50 - 1 - 2 - 3 - 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_a_key_that_made_no_order_works_anew() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(50).await;
        let path = format!("/inventory/{id}/decrement");
        let first = app.client.post_keyed(&path, &json!({"quantity": 1}), "key").await.expect(200);
        app.age_answers().await;
        let anew = app.client.post_keyed(&path, &json!({"quantity": 2}), "key").await.expect(200);
        assert!(!anew.was_replayed() && anew.bytes != first.bytes);
        assert!(
            app.client.post_keyed(&path, &json!({"quantity": 2}), "key").await.expect(200).was_replayed()
        );

        app.age_answers().await;
        let replies = at_once(20, |_| {
            let (client, path) = (app.client.clone(), path.clone());
            async move { client.post_keyed(&path, &json!({"quantity": 5}), "key").await.expect(200) }
        })
        .await;
        assert_eq!(replies.iter().filter(|reply| !reply.was_replayed()).count(), 1);
        assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes));
        assert_eq!(app.client.on_hand(id).await, 50 - 1 - 2 - 5);

        let user = unique("ann");
        app.client.order(&user, "key", &[(id, 100)]).await.expect(409);
        app.age_answers().await;
        assert!(!app.client.order(&user, "key", &[(id, 1)]).await.expect(201).was_replayed());
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_waits_for_the_first_with_its_key_and_goes_on_if_that_dies() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        for call in calls(&app).await {
            let key = unique("key");
            let scope = match call.name {
                "order" => format!("user:{}", call.body["user_id"].as_str().unwrap()),
                // It makes an order for whoever the hold is for.
                "capture" => format!("user:{}", call.user),
                _ => "subject:admin".to_owned(),
            };
            let mut first = app.database.pool.begin().await.unwrap();
            claim(&mut first, &scope, &key).await;
            let (client, waiting, its_key) = (app.client.clone(), call.clone(), key.clone());
            let second = tokio::spawn(async move { waiting.make(&client, &its_key).await });
            app.until_somebody_waits_for_a_row().await;
            first.rollback().await.unwrap();
            let reply = second.await.unwrap();
            assert!(reply.status.is_success() && !reply.was_replayed(), "{}: {reply:?}", call.name);
            assert!(call.make(&app.client, &key).await.was_replayed(), "{}", call.name);
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn answers_whose_time_is_over_are_forgotten_in_the_end_and_an_orders_key_never() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(50).await;
    let body = json!({"quantity": 1});
    let path = format!("/inventory/{variant}/decrement");
    let order = app.client.order("ann", "key-of-order", &[(variant, 1)]).await.expect(201).json();
    app.client.post_keyed(&path, &body, "old").await.expect(200);
    app.age_answers().await;
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged::default(), "over, and still told to be");
    app.age_answers().await;
    sqlx::query(
        "INSERT INTO idempotency_keys (scope, key, request_hash, status, body, first_seen)
         SELECT 'subject:x', 'key-' || n, 'x', 200, 'x', clock_timestamp() - interval '3 days'
         FROM generate_series(1, 1200) AS n",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
    app.client.post_keyed(&path, &body, "new").await.expect(200);
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged { answers: 1_202, ..Purged::default() });
    assert_eq!(app.count("idempotency_keys").await, 1);
    let told = app.client.get("/idempotency-keys/key-of-order?user_id=ann").await.expect(200).json();
    assert_eq!((&told["state"], &told["order_id"]), (&json!("expired"), &order["order_id"]));
    let late = app.client.order("ann", "key-of-order", &[(variant, 1)]).await.expect(200);
    assert!(late.was_replayed());
    app.finish().await;
}
