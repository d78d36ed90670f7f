//! Whatever several things happen to one order at once, it ends in one of the right states.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Barrier;
use uuid::Uuid;

use super::{assert_books, by_id, by_key, cancel_by_api, read};
use crate::support::campaign::{amount, report};
use crate::support::link::draw;
use crate::support::{Client, Peer, Reply, Sender, TestApp, shared_redis, unique};

const OPENING: i64 = 1_000_000;

/// One order and all that may happen to it.
#[derive(Clone)]
struct Case {
    replicas: [Client; 2],
    variants: [Uuid; 2],
    user: String,
    event: String,
    /// If it was there before the race.
    order: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Place,
    ByWebhook,
    ByApi,
    Redelivery,
}
use Act::{ByApi, ByWebhook, Place, Redelivery};

/// What more than two may do before an order is there, or once it is; and an event that was delivered before. Any other
/// two are raced in `races`.
const RACES: [&[Act]; 3] = [
    &[Place, Redelivery],
    &[Place, ByWebhook, Redelivery, Redelivery],
    &[Place, ByWebhook, ByApi, Redelivery],
];

impl Case {
    fn client(&self) -> &Client {
        &self.replicas[draw(2) as usize]
    }

    async fn place(&self) -> Reply {
        self.client().order(&self.user, "k", &[(self.variants[0], 2), (self.variants[1], 3)]).await
    }

    fn act(&self, act: Act, start: Arc<Barrier>) -> BoxFuture<'static, Reply> {
        let case = self.clone();
        let data = match &case.order {
            Some(order) if draw(2) == 0 => by_id(order),
            _ => by_key(&case.user, "k"),
        };
        // An event says the same each time it is delivered.
        let repeated = case.order.as_ref().map_or_else(|| by_key(&case.user, "k"), by_id);
        Box::pin(async move {
            start.wait().await;
            let sender = Sender::to(case.client());
            match act {
                Place => case.place().await.expect(201),
                ByWebhook => sender.cancel(&unique("event"), &data).await.expect(200),
                Redelivery => sender.cancel(&case.event, &repeated).await.expect(200),
                ByApi => {
                    let order = case.order.as_ref().unwrap();
                    cancel_by_api(case.client(), &order["order_id"]).await.expect(200)
                }
            }
        })
    }
}

async fn race(case: &mut Case, acts: &[Act]) {
    if acts.contains(&ByApi) {
        case.order = Some(case.place().await.expect(201).json());
    }
    if acts.contains(&Redelivery) && draw(2) == 0 {
        // What is delivered again in the race was delivered before it.
        case.act(Redelivery, Arc::new(Barrier::new(1))).await;
    }
    let start = Arc::new(Barrier::new(acts.len()));
    let runners: Vec<_> = acts.iter().map(|act| tokio::spawn(case.act(*act, start.clone()))).collect();
    for runner in runners {
        runner.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_an_order_at_once_it_ends_cancelled_and_its_stock_is_there_once() {
    for redis in [Some(shared_redis()), None] {
        let app = match redis {
            Some(_) => TestApp::start().await,
            None => TestApp::without_redis().await,
        };
        let peer = Peer::start(&app.database.url, redis.as_deref(), &[]).await;
        let variants = [app.client.variant(OPENING).await, app.client.variant(OPENING).await];
        let rounds = amount(15, 200);
        let mut born = 0;
        for round in 0..rounds * RACES.len() {
            let replicas = [app.client.clone(), peer.client.clone()];
            let mut case =
                Case { replicas, variants, user: unique("user"), event: unique("event"), order: None };
            race(&mut case, RACES[round % RACES.len()]).await;
            // Who placed it, if nobody did yet, is told what it is.
            let order = case.place().await.expect(201).json();
            let now = read(&app.client, &order["order_id"]).await;
            assert_eq!(now["status"], "cancelled", "{:?}", RACES[round % RACES.len()]);
            born += i64::from(order["status"] == "cancelled");
            assert_books(&app, &variants, OPENING).await;
        }
        let orders = app.count("orders").await;
        let returned = app.count("stock_movements WHERE kind = 'return'").await;
        assert_eq!((orders, returned), ((rounds * RACES.len()) as i64, 2 * (orders - born)));
        assert_eq!(app.count("early_cancellations").await, born);
        report(&format!(
            "{orders} orders raced by their cancellations, {born} of them born cancelled: all ended cancelled, each \
             stock was back once"
        ));
        peer.finish().await;
        app.finish().await;
    }
}
