//! Clients that sell, return and order without a pause, all on the same few variants and over all replicas, while
//! something breaks that no request may fail by.
//!
//! Only success and "not enough in stock" are answers. In the end all that was acknowledged, order lines too, must
//! be one history of each variant, and add up to what is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sqlx::{PgPool, Row};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::order_body;
use super::history::Entry;
use super::link::draw;
use super::{Client, History, Reply, eventually, unique};

const VARIANTS: usize = 5;
const CLIENTS: usize = 12;
/// So little that some are refused.
const ON_HAND: i64 = 60;
const SOON: Duration = Duration::from_secs(60);

/// Trade going on in the background.
pub struct Crowd {
    shared: Arc<Shared>,
    over: CancellationToken,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    variants: Vec<Uuid>,
    history: History,
    /// The net change of each variant that was acknowledged.
    net: Mutex<HashMap<Uuid, i64>>,
    /// When each acknowledged order was asked for and answered.
    orders: Mutex<HashMap<Uuid, (Instant, Instant)>>,
    tally: Mutex<Tally>,
}

/// What was heard since the last time one asked.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Changes that were acknowledged.
    pub changes: usize,
    /// Answers of either kind that no Redis lock had a part in.
    pub database_only: usize,
    /// Answers under both layers, by replica.
    pub two_layer: Vec<usize>,
    pub slowest: Duration,
    /// What no client may be told.
    pub failures: Vec<String>,
}

impl Tally {
    pub fn answers(&self) -> usize {
        self.database_only + self.two_layer.iter().sum::<usize>()
    }
}

impl Crowd {
    pub async fn gather(replicas: &[&Client]) -> Self {
        let mut variants = Vec::new();
        for _ in 0..VARIANTS {
            variants.push(replicas[0].variant(ON_HAND).await);
        }
        let tally = Tally { two_layer: vec![0; replicas.len()], ..Tally::default() };
        let shared = Arc::new(Shared {
            variants,
            history: History::default(),
            net: Mutex::default(),
            orders: Mutex::default(),
            tally: Mutex::new(tally),
        });
        let over = CancellationToken::new();
        let clients = (0..CLIENTS)
            .map(|n| {
                let replica = n % replicas.len();
                tokio::spawn(trade(shared.clone(), over.clone(), replica, replicas[replica].clone()))
            })
            .collect();
        Self { shared, over, clients }
    }

    /// One of the variants that they crowd around.
    pub fn some_variant(&self) -> Uuid {
        self.shared.some_variant()
    }

    /// What was heard since the tally was begun anew.
    pub fn tally(&self) -> Tally {
        self.shared.tally.lock().unwrap().clone()
    }

    pub fn begin_tally(&self) {
        let mut tally = self.shared.tally.lock().unwrap();
        *tally = Tally { two_layer: vec![0; tally.two_layer.len()], ..Tally::default() };
    }

    /// Waits until so many more changes were acknowledged.
    pub async fn changes(&self, more: usize) {
        let goal = self.tally().changes + more;
        eventually(SOON, "changes are acknowledged", async || self.tally().changes >= goal).await;
    }

    /// Sends everybody home and checks what they were told, with the help of `client` and the ledger in `pool`.
    pub async fn settle(self, client: &Client, pool: &PgPool) -> usize {
        self.over.cancel();
        for client in self.clients {
            client.await.unwrap();
        }
        let shared = self.shared;
        assert_eq!(shared.tally.lock().unwrap().failures, [""; 0]);
        shared.add_order_lines(pool).await;
        let changes = shared.history.check();
        for variant in &shared.variants {
            let net = shared.net.lock().unwrap().get(variant).copied().unwrap_or_default();
            assert_eq!(client.on_hand(*variant).await, ON_HAND + net, "an effect is missing or doubled");
        }
        changes
    }
}

async fn trade(shared: Arc<Shared>, over: CancellationToken, replica: usize, client: Client) {
    while !over.is_cancelled() {
        let sent = Instant::now();
        let reply = match draw(20) {
            0..3 => shared.order(&client).await,
            3..12 => shared.change(&client, "decrement", -1).await,
            _ => shared.change(&client, "increment", 1).await,
        };
        shared.note(replica, sent.elapsed(), &reply);
    }
}

impl Shared {
    fn some_variant(&self) -> Uuid {
        self.variants[draw(self.variants.len() as u64) as usize]
    }

    async fn change(&self, client: &Client, verb: &str, sign: i64) -> Reply {
        let (variant, quantity) = (self.some_variant(), 1 + draw(3) as i64);
        let path = format!("/inventory/{variant}/{verb}");
        let body = json!({ "quantity": quantity });
        let reply = self.history.watch(client.post(&path, &body)).await;
        if reply.status == 200 {
            *self.net.lock().unwrap().entry(variant).or_default() += sign * quantity;
        }
        reply
    }

    async fn order(&self, client: &Client) -> Reply {
        let lines: Vec<_> = (0..3).map(|_| (self.some_variant(), 1 + draw(2) as i64)).collect();
        let asked = Instant::now();
        let reply = client.post_keyed("/orders", &order_body("ann", &lines), &unique("key")).await;
        if reply.status == 201 {
            let order = reply.json()["order_id"].as_str().unwrap().parse().unwrap();
            self.orders.lock().unwrap().insert(order, (asked, Instant::now()));
            for (variant, quantity) in lines {
                *self.net.lock().unwrap().entry(variant).or_default() -= quantity;
            }
        }
        reply
    }

    fn note(&self, replica: usize, took: Duration, reply: &Reply) {
        let mut tally = self.tally.lock().unwrap();
        tally.slowest = tally.slowest.max(took);
        match reply.status.as_u16() {
            200 | 201 => tally.changes += 1,
            409 if reply.code() == "insufficient_stock" => {}
            _ => {
                tally.failures.push(format!("after {took:?} from replica {replica}: {reply:?}"));
                return;
            }
        }
        match reply.header("lock-mode") {
            Some("two_layer") => tally.two_layer[replica] += 1,
            Some("database_only") => tally.database_only += 1,
            _ => tally.failures.push(format!("without a lock mode: {reply:?}")),
        }
    }

    /// An order's answer names no versions: the ledger does. A movement of an order that nobody was told of leaves
    /// a gap in the history.
    async fn add_order_lines(&self, pool: &PgPool) {
        let orders = self.orders.lock().unwrap().clone();
        let movements = sqlx::query(
            "SELECT order_id, variant_id, version, delta, on_hand_after FROM stock_movements
             WHERE order_id IS NOT NULL",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        for row in movements {
            let Some((invoked, returned)) = orders.get(&row.get::<Uuid, _>(0)).copied() else { continue };
            let (delta, after): (i64, i64) = (row.get(3), row.get(4));
            let entry = Entry { invoked, returned, version: row.get(2), delta, before: after - delta, after };
            self.history.add(row.get(1), entry);
        }
    }
}
