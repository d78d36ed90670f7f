//! A lease ended by an operator: in Postgres, where its truth is, with Redis and without.

use holdfast::leases::{Ending, LeaseError};
use serde_json::{Value, json};

use super::{a_minute, begin, commit, granted, rack, roll_back};
use crate::support::row::until_at_a_row;
use crate::support::{Client, Private, Reply, Stranger, TestApp, TestDatabase};

async fn end(client: &Client, key: &str, idempotency_key: &str) -> Reply {
    client
        .post_keyed(&format!("/locks/{key}/release"), &json!({"reason": "device lost"}), idempotency_key)
        .await
}

async fn is_over(
    app: &TestApp,
    told: &Value,
    name: &holdfast::leases::LeaseName,
    fence: holdfast::leases::Fence,
) {
    assert_eq!((told["key"].as_str(), told["reason"].as_str()), (Some(name.as_str()), Some("device lost")));
    let refused = app.app.leases.renew(&app.app.db, name, fence, a_minute()).await;
    assert!(matches!(refused, Err(LeaseError::Ended(Ending::ByHand))), "{refused:?}");
    let mut write = begin(app).await;
    let refused = app.app.leases.hold_fence_in_tx(&mut write, name, fence).await;
    assert!(matches!(refused, Err(LeaseError::Ended(Ending::ByHand))), "{refused:?}");
    roll_back(write).await;
    // Its owner may let go of it as if nothing had happened.
    app.app.leases.release(&app.app.db, name, fence).await.unwrap();
    assert_eq!(app.count("lock_releases").await, 1);
    let again = end(&app.client, name.as_str(), "key-1").await.expect(200);
    assert!(again.was_replayed() && again.json() == *told);
    assert!(granted(&app.app, name, "bob").await > fence);
}

#[tokio::test]
async fn released_by_hand_a_lease_has_ended_in_postgres_and_its_shadow_is_gone() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), super::PATIENT).await;
    let (stranger, name) = (Stranger::at(&redis.url()).await, rack());
    let fence = granted(&app.app, &name, "ann").await;
    let seen = app.client.get("/locks/status").await.expect(200).json()["locks"][0]["owner"].clone();
    let told = end(&app.client, name.as_str(), "key-1").await.expect(200).json();
    assert_eq!(told["owner"], seen, "the record names it as the status did");
    assert_eq!(stranger.holder(name.as_str()).await, None);
    assert_eq!(end(&app.client, name.as_str(), "key-2").await.expect(404).code(), "lock_not_held");
    is_over(&app, &told, &name, fence).await;
    app.finish().await;
}

#[tokio::test]
async fn without_redis_a_lease_is_released_by_hand_all_the_same() {
    let app = TestApp::without_redis().await;
    let name = rack();
    let fence = granted(&app.app, &name, "ann").await;
    let told = end(&app.client, name.as_str(), "key-1").await.expect(200).json();
    is_over(&app, &told, &name, fence).await;
    app.finish().await;

    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let fence = granted(&app.app, &name, "ann").await;
    redis.kill().await.unwrap();
    let told = end(&app.client, name.as_str(), "key-1").await.expect(200).json();
    is_over(&app, &told, &name, fence).await;
    app.finish().await;
}

#[tokio::test]
async fn an_end_by_hand_waits_for_the_write_that_is_under_way() {
    let app = TestApp::start().await;
    let name = rack();
    let fence = granted(&app.app, &name, "ann").await;
    let mut write = begin(&app).await;
    app.app.leases.hold_fence_in_tx(&mut write, &name, fence).await.unwrap();
    let (client, key) = (app.client.clone(), name.clone());
    let ending = tokio::spawn(async move { end(&client, key.as_str(), "key-1").await });
    until_at_a_row(&app.database.pool, 1).await;
    commit(write).await;
    let told = ending.await.unwrap().expect(200).json();
    is_over(&app, &told, &name, fence).await;
    app.finish().await;
}

#[tokio::test]
async fn a_strangers_lock_on_a_leases_name_is_taken_away_as_any_other() {
    let app = TestApp::start().await;
    let (redis, name) = (Stranger::at(&crate::support::shared_redis()).await, rack());
    assert!(redis.take(name.as_str(), "another program").await);
    end(&app.client, name.as_str(), "key-1").await.expect(200);
    assert_eq!(redis.holder(name.as_str()).await, None);
    granted(&app.app, &name, "ann").await;
    app.finish().await;
}
