//! Many webhooks at once, a third of them again, as after an outage of their sender.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{assert_books, by_id, by_key};
use crate::support::campaign::{amount, report};
use crate::support::link::draw;
use crate::support::{Peer, Sender, TestApp, shared_redis};

const OPENING: i64 = 1_000_000;
const SENDERS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_which_a_third_is_repeated_ends_exact() {
    let app = TestApp::start().await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), &[]).await;
    let variants = app.variants(8, OPENING).await;
    let deliveries = amount(300, 5_000);
    let events = deliveries * 2 / 3;
    // A third of the events come before their order, and of the orders there a third is cancelled line by line.
    let mut queue = Vec::new();
    for event in 0..events {
        let (user, key) = (format!("user-{event}"), "k");
        let lines = [(variants[event % 8], 2), (variants[(event + 3) % 8], 1)];
        let data = if event % 3 == 0 {
            by_key(&user, key)
        } else {
            let order = app.client.order(&user, key, &lines).await.expect(201).json();
            let mut data = by_id(&order);
            if event % 3 == 1 {
                data["lines"] = json!([{"line_id": order["lines"][0]["line_id"], "quantity": 1}]);
            }
            data
        };
        queue.push((event, data));
    }
    for _ in 0..deliveries - events {
        let again = queue[draw(events as u64) as usize].clone();
        queue.insert(draw(queue.len() as u64) as usize, again);
    }
    let queue = Arc::new(Mutex::new(VecDeque::from(queue)));
    let senders: Vec<_> = (0..SENDERS)
        .map(|n| {
            let (queue, client) = (queue.clone(), [&app.client, &peer.client][n % 2].clone());
            tokio::spawn(async move {
                let (sender, mut duplicates) = (Sender::to(&client), 0);
                loop {
                    let Some((event, data)) = queue.lock().unwrap().pop_front() else { return duplicates };
                    let told = sender.cancel(&format!("event-{event}"), &data).await.expect(200).json();
                    duplicates += usize::from(told["duplicate"] == true);
                }
            })
        })
        .collect();
    let mut duplicates = 0;
    for sender in senders {
        duplicates += sender.await.unwrap();
    }
    assert_eq!(duplicates, deliveries - events, "each event was carried out by one delivery of it");
    let early = events.div_ceil(3) as i64;
    let count = async |state: &str| app.count(&format!("webhook_inbox WHERE state = '{state}'")).await;
    assert_eq!((count("waiting_for_order").await, count("cancelled").await), (early, events as i64 - early));
    for event in (0..events).step_by(3) {
        let order =
            app.client.order(&format!("user-{event}"), "k", &[(variants[0], 1)]).await.expect(201).json();
        assert_eq!(order["status"], "cancelled");
    }
    assert_books(&app, &variants, OPENING).await;
    let kept = app.count("orders WHERE status = 'partly_cancelled'").await;
    assert_eq!(
        app.count("stock_movements WHERE kind = 'return'").await,
        kept + 2 * (events as i64 - early - kept)
    );
    report(&format!(
        "{deliveries} deliveries of {events} events, {early} before their order: each had one effect"
    ));
    peer.finish().await;
    app.finish().await;
}
