//! Replicas are killed under their readers, in the middle of what they sell, tell and deliver.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::endpoints::receiver::Receiver;
use crate::support::campaign::{amount, report};
use crate::support::stream::Told;
use crate::support::{Client, Replica, Stream, TestApp, TestDatabase, eventually, shared_redis, unique};

const SETTINGS: &[(&str, &str)] = &[("HOLDFAST_WEBHOOK_ALLOW_PRIVATE", "true")];
/// For the rest to be told, which is a lot in the long form.
const SOON: Duration = Duration::from_secs(600);

/// Sells, orders and cancels until nobody answers.
async fn sell_on(client: Client, variants: Vec<Uuid>) {
    for (n, variant) in variants.iter().cycle().enumerate() {
        let done = if n % 4 < 3 {
            let path = format!("/inventory/{variant}/decrement");
            client.try_post(&path, &json!({"quantity": 1}), None).await.is_ok()
        } else {
            order_and_cancel(&client, *variant).await.is_ok()
        };
        if !done {
            return;
        }
    }
}

async fn order_and_cancel(client: &Client, variant: Uuid) -> anyhow::Result<()> {
    let order = json!({"user_id": "ann", "lines": [{"variant_id": variant, "quantity": 2}]});
    let order = client.try_post("/orders", &order, Some(&unique("order"))).await?.expect(201).json();
    let cancel = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
    client.try_post(&cancel, &json!({}), None).await?;
    Ok(())
}

/// Goes on wherever somebody serves.
struct Reader {
    types: &'static str,
    last_id: String,
    told: Vec<Told>,
}

impl Reader {
    async fn open(&self, client: &Client) -> Stream {
        Stream::from(client, self.types, Some(&self.last_id)).await
    }

    /// Reads so many, calls `kill`, and reads what had arrived by then: that counts.
    async fn read(&mut self, mut stream: Stream, events: usize, kill: impl AsyncFnOnce()) {
        for _ in 0..events {
            self.told.push(stream.next().await.expect("one more event"));
        }
        kill().await;
        while let Some(event) = stream.next().await {
            self.told.push(event);
        }
        self.last_id.clone_from(&stream.last_id);
    }

    fn positions(&self) -> Vec<i64> {
        self.told.iter().map(|told| told.id.parse().unwrap()).collect()
    }
}

/// Everything that was committed after a position, in the order of positions: types and ids.
async fn committed(app: &TestApp, after: i64) -> BTreeMap<i64, (String, Uuid)> {
    let rows: Vec<(i64, String, Uuid)> = sqlx::query_as(
        "SELECT position, 'stock.changed', movement_id FROM stock_movements WHERE position > $1
         UNION ALL SELECT position, 'order.placed', order_id FROM orders WHERE position > $1
         UNION ALL SELECT position, kind, event_id FROM events WHERE position > $1",
    )
    .bind(after)
    .fetch_all(&app.database.pool)
    .await
    .unwrap();
    rows.into_iter().map(|(position, kind, id)| (position, (kind, id))).collect()
}

/// Each was received at least once, none that was not committed, and about each thing in their order.
fn check_received(receiver: &Receiver, committed: &BTreeMap<i64, (String, Uuid)>) -> usize {
    let mut first = HashMap::new();
    let mut latest = HashMap::<String, i64>::new();
    let sent = receiver.sent();
    for (n, sent) in sent.iter().enumerate() {
        let body = sent.json();
        let position: i64 = body["cursor"].as_str().unwrap().parse().unwrap();
        let (kind, id) = committed.get(&position).expect("only what was committed is told");
        assert_eq!(
            (body["type"].as_str(), sent.header("webhook-id")),
            (Some(kind.as_str()), &*id.to_string())
        );
        if first.insert(position, n).is_none() && kind == "stock.changed" {
            let variant = body["data"]["variant_id"].to_string();
            let before = latest.insert(variant, position).unwrap_or_default();
            assert!(before < position, "{before} was told before {position}");
        }
    }
    assert!(committed.keys().all(|position| first.contains_key(position)), "something was not received");
    sent.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_each_event_is_told_once_to_readers_and_at_least_once_to_a_receiver() {
    let mut app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), SETTINGS).await;
    let variants = app.variants(4, 1_000_000).await;
    let receiver = Receiver::start().await;
    let last_id = Stream::open(&app.client, "").await.last_id.clone();
    app.client.post("/webhook-endpoints", &json!({"url": receiver.url()})).await.expect(201);
    let reader = |types| Reader { types, last_id: last_id.clone(), told: Vec::new() };
    let (mut all, mut some) = (reader(""), reader("?types=stock.changed"));
    // From here on the others relay and deliver.
    app.quiet().await;
    let (started, kills) = (Instant::now(), amount(6, 200));
    for _ in 0..kills {
        let replica = Replica::start(&app.database.url, Some(&shared_redis()), SETTINGS).await;
        let client = replica.client.clone();
        let sellers: Vec<_> =
            (0..4).map(|_| tokio::spawn(sell_on(client.clone(), variants.clone()))).collect();
        let events = 5 + usize::from(holdfast::ids::random_byte()) / 4;
        let streams = (all.open(&client).await, some.open(&client).await);
        tokio::join!(
            all.read(streams.0, events, async || replica.kill().await),
            some.read(streams.1, 0, async || {}),
        );
        for seller in sellers {
            seller.await.unwrap();
        }
    }
    let lasted = started.elapsed();
    // What nobody said the end of is due a minute later: now.
    sqlx::raw_sql("UPDATE webhook_deliveries SET next_attempt_at = '2026-01-01' WHERE state = 'pending'")
        .execute(&app.database.pool)
        .await
        .unwrap();
    let last = Replica::start(&app.database.url, Some(&shared_redis()), SETTINGS).await;
    // It begins when nothing is under way any more.
    drop(Stream::open(&last.client, "").await);
    let expected = committed(&app, last_id.parse().unwrap()).await;
    let movements = expected.values().filter(|(kind, _)| kind == "stock.changed").count();
    for (reader, count) in [(&mut all, expected.len()), (&mut some, movements)] {
        let mut stream = reader.open(&last.client).await;
        while reader.told.len() < count {
            reader.told.push(stream.next().await.expect("one more event"));
        }
    }
    assert!(
        all.positions().iter().eq(expected.keys()),
        "told is not what was committed, once and in its order"
    );
    for told in &all.told {
        assert_eq!(told.event, expected[&told.id.parse().unwrap()].0);
    }
    let of_stock =
        expected.iter().filter(|(_, (kind, _))| kind == "stock.changed").map(|(position, _)| *position);
    assert!(
        some.positions().into_iter().eq(of_stock),
        "told is not what was committed, once and in its order"
    );
    eventually(SOON, "all is delivered", async || {
        app.count("webhook_deliveries WHERE state = 'delivered'").await == expected.len() as i64
    })
    .await;
    let received = check_received(&receiver, &expected);
    report(&format!(
        "{kills} replicas killed at random under load, in {} s: {} events committed, each told once and in order to 2 readers that \
         went on elsewhere, and received by webhook ({received} times in all), none that was not committed",
        lasted.as_secs(),
        expected.len(),
    ));
    assert!(last.terminate().await);
    app.finish().await;
}
