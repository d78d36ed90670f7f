//! Keyed writes from many clients, while something breaks, and the settling of accounts afterwards.
//!
//! Each write is acknowledged, refused (nothing was written) or unknown. In the end every one is repeated with its
//! key: what was acknowledged must come back byte for byte, what is unknown must have been done or be done now;
//! and then the stock must show the effect of every write once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::order_body;
use super::wire::{self, Heard};
use super::{Client, eventually, unique};

/// What each variant begins with: never sold out.
const ON_HAND: i64 = 1_000_000;
const SOON: Duration = Duration::from_secs(30);
/// A client that was not answered tries the next thing after this.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes going on in the background.
pub struct Load {
    shared: Arc<Shared>,
    over: CancellationToken,
    workers: Vec<JoinHandle<Vec<Write>>>,
}

struct Shared {
    variants: Vec<Uuid>,
    /// Whom the clients turn to; one that died is replaced.
    replicas: Mutex<Vec<Client>>,
    acknowledged: AtomicUsize,
    unknown: AtomicUsize,
}

/// A write and what was heard of it.
struct Write {
    path: String,
    body: serde_json::Value,
    key: String,
    lines: Vec<(Uuid, i64)>,
    answer: Option<(u16, Vec<u8>)>,
}

impl Load {
    pub async fn start(replicas: &[&Client], variants: usize, workers: usize) -> Self {
        let mut made = Vec::new();
        for _ in 0..variants {
            made.push(replicas[0].variant(ON_HAND).await);
        }
        let shared = Arc::new(Shared {
            variants: made,
            replicas: Mutex::new(replicas.iter().map(|client| (*client).clone()).collect()),
            acknowledged: AtomicUsize::default(),
            unknown: AtomicUsize::default(),
        });
        let over = CancellationToken::new();
        let workers = (0..workers).map(|n| tokio::spawn(work(shared.clone(), over.clone(), n))).collect();
        Self { shared, over, workers }
    }

    /// From now on the clients turn to `client` instead of the `index`th replica.
    pub fn replace(&self, index: usize, client: &Client) {
        self.shared.replicas.lock().unwrap()[index] = client.clone();
    }

    /// Waits until so many more writes were acknowledged.
    pub async fn acknowledged(&self, more: usize) {
        let goal = self.shared.acknowledged.load(Ordering::SeqCst) + more;
        eventually(SOON, "writes are acknowledged", async || {
            self.shared.acknowledged.load(Ordering::SeqCst) >= goal
        })
        .await;
    }

    /// Waits until so many more writes were left unknown.
    pub async fn left_unknown(&self, more: usize) {
        let goal = self.shared.unknown.load(Ordering::SeqCst) + more;
        eventually(SOON, "writes are left unknown", async || {
            self.shared.unknown.load(Ordering::SeqCst) >= goal
        })
        .await;
    }

    /// Ends the load and settles with `client`. Gives how many were acknowledged and how many unknown.
    pub async fn settle(self, client: &Client) -> (usize, usize) {
        self.over.cancel();
        let mut writes = Vec::new();
        for worker in self.workers {
            writes.extend(worker.await.unwrap());
        }
        let mut sold: std::collections::HashMap<Uuid, i64> = std::collections::HashMap::new();
        for write in &writes {
            let reply = client.post_keyed(&write.path, &write.body, &write.key).await;
            assert!(
                matches!(reply.status.as_u16(), 200 | 201),
                "{} with {}: {reply:?}",
                write.path,
                write.key
            );
            if let Some((status, body)) = &write.answer {
                assert_eq!(
                    (reply.status.as_u16(), &reply.bytes[..]),
                    (*status, &body[..]),
                    "an answer changed"
                );
                assert!(reply.was_replayed(), "acknowledged, lost, and done anew: {reply:?}");
            }
            for (variant, quantity) in &write.lines {
                *sold.entry(*variant).or_default() += quantity;
            }
        }
        for variant in &self.shared.variants {
            let expected = ON_HAND - sold.get(variant).copied().unwrap_or_default();
            assert_eq!(client.on_hand(*variant).await, expected, "an effect is missing or doubled");
        }
        let acknowledged = writes.iter().filter(|write| write.answer.is_some()).count();
        (acknowledged, writes.len() - acknowledged)
    }
}

async fn work(shared: Arc<Shared>, over: CancellationToken, worker: usize) -> Vec<Write> {
    let mut writes = Vec::new();
    while !over.is_cancelled() {
        let client = {
            let replicas = shared.replicas.lock().unwrap();
            replicas[(worker + writes.len()) % replicas.len()].clone()
        };
        let mut write = shared.draw(writes.len() % 3 == 0);
        match wire::ask(&client, &write.path, &write.body, Some(&write.key)).await {
            Heard::Answer(status @ (200 | 201), body) => {
                write.answer = Some((status, body));
                shared.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            // Busy or in flight: nothing was written, and the same key may be used again.
            Heard::Answer(409 | 429, _) => {}
            Heard::Answer(503, _) | Heard::Nothing => {
                shared.unknown.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(PAUSE).await;
            }
            other => panic!("{other:?}"),
        }
        writes.push(write);
    }
    writes
}

impl Shared {
    fn draw(&self, order: bool) -> Write {
        let draw = || self.variants[usize::from(holdfast::ids::random_byte()) % self.variants.len()];
        let key = unique("key");
        if order {
            let lines = vec![(draw(), 1), (draw(), 2), (draw(), 3)];
            let body = order_body(&unique("user"), &lines);
            return Write { path: "/orders".to_owned(), body, key, lines, answer: None };
        }
        let variant = draw();
        let path = format!("/inventory/{variant}/decrement");
        Write { path, body: json!({"quantity": 1}), key, lines: vec![(variant, 1)], answer: None }
    }
}
