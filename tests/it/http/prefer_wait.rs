//! `Prefer: wait=N`: how long a request may be made to wait, in its caller's words.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::support::client::order_body;
use crate::support::{Client, HeldRow, Peer, Reply, TestApp, TestDatabase, shared_redis, unique};

/// Sends it with a key and a preference.
async fn preferring(client: &Client, path: &str, body: &Value, key: &str, prefer: &str) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key), ("prefer", prefer)];
    client.send(Method::POST, &format!("/api/v1{path}"), &headers, body.to_string()).await.unwrap()
}

fn applied(reply: &Reply) -> Option<&str> {
    reply.header("preference-applied")
}

fn assert_in_flight(reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, "idempotency_in_flight"), "{reply:?}");
    assert!(reply.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_is_told_at_once_that_the_first_is_in_flight() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        // A replica that shares neither line nor Redis with it meets it at the key's row.
        let peer = Peer::start(&app.database.url, None, &[]).await;
        let id = app.client.variant(50).await;
        let order = order_body(&unique("ann"), &[(id, 1)]);
        for (path, body) in
            [(format!("/inventory/{id}/decrement"), json!({"quantity": 1})), ("/orders".to_owned(), order)]
        {
            let (row, key) = (HeldRow::of(&app.database, id).await, unique("key"));
            let (client, first_path, first_body, first_key) =
                (app.client.clone(), path.clone(), body.clone(), key.clone());
            let first =
                tokio::spawn(async move { client.post_keyed(&first_path, &first_body, &first_key).await });
            row.until_wanted_by(1, &app.database.pool).await;
            for client in [&app.client, &peer.client] {
                let second = preferring(client, &path, &body, &key, "wait=0").await;
                assert_in_flight(&second);
                assert_eq!(applied(&second), Some("wait=0"));
            }
            row.let_go().await;
            let first = first.await.unwrap();
            assert!(first.status.is_success(), "{first:?}");
            let again = preferring(&app.client, &path, &body, &key, "wait=0").await;
            assert!(again.was_replayed() && again.bytes == first.bytes);
            assert_eq!((applied(&again), applied(&first)), (Some("wait=0"), None));
        }
        peer.finish().await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gets_the_first_answer_as_soon_as_there_is_one() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let peer = Peer::start(&app.database.url, None, &[]).await;
        let id = app.client.variant(50).await;
        let (path, body) = (format!("/inventory/{id}/decrement"), json!({"quantity": 1}));
        for second in [&app.client, &peer.client] {
            let (row, key) = (HeldRow::of(&app.database, id).await, unique("key"));
            let (client, first_path, first_body, first_key) =
                (app.client.clone(), path.clone(), body.clone(), key.clone());
            let first =
                tokio::spawn(async move { client.post_keyed(&first_path, &first_body, &first_key).await });
            row.until_wanted_by(1, &app.database.pool).await;
            let second = preferring(second, &path, &body, &key, "respond-async, wait=5");
            let let_go = async { row.let_go().await };
            let (second, ()) = tokio::join!(second, let_go);
            assert_eq!((second.status.as_u16(), applied(&second)), (200, Some("wait=5")), "{second:?}");
            assert!(second.was_replayed() && second.bytes == first.await.unwrap().bytes);
        }
        assert_eq!(app.client.on_hand(id).await, 48);
        peer.finish().await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_a_second_is_answered_after_one_though_others_wait_longer() {
    let app = TestApp::start().await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    let id = app.client.variant(50).await;
    let (path, body) = (format!("/inventory/{id}/decrement"), json!({"quantity": 1}));
    let row = HeldRow::of(&app.database, id).await;
    let (client, first_path, first_body) = (app.client.clone(), path.clone(), body.clone());
    let first = tokio::spawn(async move { client.post_keyed(&first_path, &first_body, "first").await });
    row.until_wanted_by(1, &app.database.pool).await;
    // In the line here, at the key's row there; and at the item's row, for another request.
    let asked = Instant::now();
    let (here, there, other) = tokio::join!(
        preferring(&app.client, &path, &body, "first", "wait=1"),
        preferring(&peer.client, &path, &body, "first", "wait=1"),
        preferring(&peer.client, &path, &body, "other", "wait=1"),
    );
    let took = asked.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
    assert_in_flight(&here);
    assert_in_flight(&there);
    assert_eq!((other.status.as_u16(), other.code().as_str()), (429, "lock_timeout"), "{other:?}");
    assert_eq!(applied(&other), Some("wait=1"));
    row.let_go().await;
    first.await.unwrap().expect(200);
    assert_eq!(app.client.on_hand(id).await, 49, "who was told of a wait in vain took nothing");
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_longer_than_the_service_lets_them_and_a_free_item_needs_no_wait() {
    let settings = [("HOLDFAST_LOCK_WAIT_MS", "300")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &settings).await;
    let id = app.client.variant(50).await;
    let (path, body) = (format!("/inventory/{id}/decrement"), json!({"quantity": 1}));
    let free = preferring(&app.client, &path, &body, &unique("key"), "wait=0").await.expect(200);
    assert_eq!(applied(&free), Some("wait=0"));
    let lease = app.lease(id).await;
    for (prefer, told) in [("wait=3600", Some("wait=1")), ("wait=99999999999999999999", Some("wait=1"))] {
        let busy = preferring(&app.client, &path, &body, "key", prefer).await.expect(429);
        assert_eq!((busy.code().as_str(), applied(&busy)), ("lock_timeout", told));
    }
    lease.release().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_preference_or_has_nothing_to_wait_for_is_passed_over() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(50).await;
    let (path, body) = (format!("/inventory/{id}/decrement"), json!({"quantity": 1}));
    for prefer in ["wait", "wait=-1", "wait=1.5", "wait=soon", "return=minimal", "\"wait=0", ",,;=", ""] {
        let reply = preferring(&app.client, &path, &body, &unique("key"), prefer).await.expect(200);
        assert_eq!(applied(&reply), None, "{prefer}");
    }
    let headers = [("prefer", "wait=1")];
    let read = app.client.send(Method::GET, &format!("/api/v1/inventory/{id}"), &headers, "").await.unwrap();
    assert_eq!(applied(&read.expect(200)), None);
    let check = json!([{"variant_id": id, "quantity": 1}]);
    let checked = preferring(&app.client, "/inventory/check-stock/bulk", &check, "key", "wait=1").await;
    assert_eq!(applied(&checked.expect(200)), Some("wait=1"));
    app.finish().await;
}
