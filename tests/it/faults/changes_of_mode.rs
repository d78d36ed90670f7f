//! What is told at `global:notifications` of changes of the lock mode.

use futures_util::StreamExt;
use redis::aio::PubSub;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{QUICK_PROBE, SOON};
use crate::support::{Link, Private, Proxy, TestApp, TestDatabase};

/// Hears what is told there.
async fn listen(url: &str) -> PubSub {
    let mut pubsub = redis::Client::open(url).unwrap().get_async_pubsub().await.unwrap();
    pubsub.subscribe("global:notifications").await.unwrap();
    pubsub
}

async fn next_notice(pubsub: &mut PubSub) -> Value {
    let message = timeout(SOON, pubsub.on_message().next()).await.expect("a notice").unwrap();
    serde_json::from_str(&message.get_payload::<String>().unwrap()).unwrap()
}

#[tokio::test]
async fn an_outage_that_began_before_the_start_is_told_like_any_other_once_it_is_over() {
    let redis = Private::redis().await;
    let (way, mut heard) = (Proxy::before_redis(&redis.url()).await, listen(&redis.url()).await);
    way.link(Link::Refused);
    let app = TestApp::with(TestDatabase::fresh().await, Some(&way.redis_url()), &[QUICK_PROBE]).await;
    let history = app.client.get("/locks/status").await.json()["breaker"]["history"].clone();
    assert_eq!(history[0]["mode"], "database_only", "it opened before anybody listened");
    way.link(Link::Sound);
    for mode in ["database_only", "two_layer"] {
        let notice = next_notice(&mut heard).await;
        assert_eq!((&notice["type"], &notice["data"]["mode"]), (&json!("lock.mode_changed"), &json!(mode)));
    }
    app.finish().await;
}

#[tokio::test]
async fn each_change_is_told_once_and_in_order() {
    let redis = Private::redis().await;
    let (way, mut heard) = (Proxy::before_redis(&redis.url()).await, listen(&redis.url()).await);
    let app = TestApp::with(TestDatabase::fresh().await, Some(&way.redis_url()), &[QUICK_PROBE]).await;
    for _ in 0..2 {
        way.link(Link::Refused);
        app.app.locks.look_once().await;
        way.link(Link::Sound);
        for mode in ["database_only", "two_layer"] {
            assert_eq!(next_notice(&mut heard).await["data"]["mode"], mode);
        }
    }
    app.finish().await;
}
