//! What goes on beyond one process: what Redis tells others of racks, and a service that dies in the middle of a posting.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{batch, counter, ids, post, record};
use crate::support::row::HeldRow;
use crate::support::{Client, Private, Replica, TestApp, TestDatabase, eventually, shared_redis, unique};

/// Nothing takes longer, on the slowest machine.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_on_redis_hears_each_change_of_a_racks_claim() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let ann = counter(&app, "ann").await;
    let mut heard = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
    heard.psubscribe("rack:updates:*").await.unwrap();
    // It is published by whoever has that role, once somebody has.
    eventually(SOON, "claims are published", async || {
        let other = format!("/racks/{}/claim", unique("other"));
        post(&ann, &other, &json!({"floor": "1"})).await.expect(200);
        timeout(Duration::from_millis(200), heard.on_message().next()).await.is_ok()
    })
    .await;
    let rack = unique("R");
    let claim = post(&ann, &format!("/racks/{rack}/claim"), &json!({"floor": "1"})).await.expect(200).json();
    let mut answers = vec![("claimed", claim.clone())];
    let by = json!({"session_id": claim["session_id"]});
    for (verb, told) in [("pause", "paused"), ("resume", "resumed"), ("complete", "completed")] {
        answers.push((told, post(&ann, &format!("/racks/{rack}/{verb}"), &by).await.expect(200).json()));
    }
    let channel = format!("rack:updates:{rack}");
    for (event, answer) in answers {
        let message = loop {
            let message = timeout(SOON, heard.on_message().next()).await.expect("a message").unwrap();
            if message.get_channel_name() == channel {
                break message.get_payload::<String>().unwrap();
            }
        };
        let message: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(message, json!({"event": event, "rack_id": rack, "data": answer}));
    }
    app.finish().await;
}

/// Sends the posting, whose answer may be lost.
fn posting(client: &Client, key: &str) -> tokio::task::JoinHandle<Option<Value>> {
    let (client, key) = (client.clone(), key.to_owned());
    tokio::spawn(async move {
        let told =
            client.try_post("/sessions/s/post", &json!({"reason": "yearly"}), Some(&key)).await.ok()?;
        (told.status == 200).then(|| told.json())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_dies_in_the_middle_of_a_posting_and_comes_back_has_posted_each_item_once() {
    for redis in [false, true] {
        let redis = redis.then(shared_redis);
        let app = TestApp::with(TestDatabase::fresh().await, redis.as_deref(), &[]).await;
        let mut variants = app.variants(250, 10).await;
        variants.sort_unstable();
        let skus: Vec<String> =
            sqlx::query_scalar("SELECT sku FROM variants").fetch_all(&app.database.pool).await.unwrap();
        let records: Vec<_> = skus.iter().map(|sku| record(sku, "s", sku, 9)).collect();
        assert_eq!(ids(&batch(&app.client, &records).await, "ok").len(), 250);
        // It has posted a section, and stands at an item of the next.
        let row = HeldRow::of(&app.database, variants[150]).await;
        let first = Replica::start(&app.database.url, redis.as_deref(), &[]).await;
        let key = unique("post");
        let lost = posting(&first.client, &key);
        row.until_wanted_by(1, &app.database.pool).await;
        first.kill().await;
        row.let_go().await;
        assert_eq!(lost.await.unwrap(), None, "nobody was told that it is posted");
        assert_eq!(app.count("count_lines").await, 100);
        // Sold meanwhile: of what was posted, and of what was not.
        for variant in [variants[0], variants[249]] {
            app.client.decrement(variant, 1).await.expect(200);
        }
        let again = Replica::start(&app.database.url, redis.as_deref(), &[]).await;
        let mut told = Value::Null;
        eventually(SOON, "what the dead one held is taken over, and the rest posted", async || {
            told = posting(&again.client, &key).await.unwrap().unwrap_or_default();
            told != Value::Null
        })
        .await;
        assert_eq!((&told["state"], told["lines"].as_array().unwrap().len()), (&json!("posted"), 250));
        assert_eq!(posting(&again.client, &key).await.unwrap().unwrap(), told);
        assert_eq!(app.count("stock_movements WHERE kind = 'count'").await, 250);
        assert_eq!(app.count("events WHERE kind = 'count.posted'").await, 1);
        let wrong = "stock s WHERE on_hand <> 9 - (SELECT count(*) FROM stock_movements m
                         WHERE m.variant_id = s.variant_id AND kind = 'sale')";
        assert_eq!(app.count(wrong).await, 0);
        assert!(again.terminate().await);
        app.finish().await;
    }
}
