//! Keyed writes of every kind from many clients, while something breaks, and the settling of accounts afterwards.
//!
//! Each write is acknowledged, refused (nothing was written) or unknown. What is unknown is sent again with its key to
//! another replica, half of it at once and the rest in the end; in the end every write is repeated with its key: what was
//! acknowledged must come back byte for byte, what is unknown must have been done or be done now; and then the stock,
//! and what of it is held, must show the effect of every write once.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::order_body;
use super::link::draw;
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

/// By how much each variant's `on_hand` and `held` change.
type Effect = Vec<(Uuid, [i64; 2])>;

/// A write and what was heard of it.
struct Write {
    path: String,
    body: Value,
    key: String,
    effect: Effect,
    /// Sent again at once if it is left unknown, to a replica other than the one before.
    insists: bool,
    was_unknown: bool,
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

    /// Waits until so many more times a write was left unknown.
    pub async fn left_unknown(&self, more: usize) {
        let goal = self.shared.unknown.load(Ordering::SeqCst) + more;
        eventually(SOON, "writes are left unknown", async || {
            self.shared.unknown.load(Ordering::SeqCst) >= goal
        })
        .await;
    }

    /// Ends the load and settles with `client`. Gives how many were acknowledged, and how many were unknown at first.
    pub async fn settle(self, client: &Client) -> (usize, usize) {
        self.over.cancel();
        let mut writes = Vec::new();
        for worker in self.workers {
            writes.extend(worker.await.unwrap());
        }
        let mut levels: HashMap<Uuid, [i64; 2]> =
            self.shared.variants.iter().map(|variant| (*variant, [ON_HAND, 0])).collect();
        for write in &writes {
            write.settle(client).await;
            for (variant, [on_hand, held]) in &write.effect {
                let level = levels.get_mut(variant).unwrap();
                *level = [level[0] + on_hand, level[1] + held];
            }
        }
        for (variant, expected) in levels {
            let level = client.get(&format!("/inventory/{variant}")).await.expect(200).json();
            let level = ["on_hand", "held"].map(|name| level[name].as_i64().unwrap());
            assert_eq!(level, expected, "an effect is missing or doubled");
        }
        let acknowledged = writes.iter().filter(|write| write.answer.is_some()).count();
        (acknowledged, writes.iter().filter(|write| write.was_unknown).count())
    }
}

async fn work(shared: Arc<Shared>, over: CancellationToken, worker: usize) -> Vec<Write> {
    let (mut writes, mut next, mut sent): (Vec<Write>, VecDeque<Write>, usize) = Default::default();
    while !over.is_cancelled() {
        let mut write = next.pop_front().unwrap_or_else(|| shared.draw());
        loop {
            let client = {
                let replicas = shared.replicas.lock().unwrap();
                replicas[(worker + sent) % replicas.len()].clone()
            };
            sent += 1;
            match wire::ask(&client, &write.path, &write.body, Some(&write.key)).await {
                Heard::Answer(status @ (200 | 201), body) => {
                    next.extend(write.follow(&body));
                    write.answer = Some((status, body));
                    shared.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                // Busy or in flight: nothing was written, and the same key may be used again.
                Heard::Answer(409 | 429, body) => {
                    let code = serde_json::from_slice::<Value>(&body).unwrap()["code"].clone();
                    assert!(code == "lock_timeout" || code == "idempotency_in_flight", "{code}");
                }
                Heard::Answer(503, _) | Heard::Nothing => {
                    write.was_unknown = true;
                    shared.unknown.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(PAUSE).await;
                    if write.insists && !over.is_cancelled() {
                        continue;
                    }
                }
                other => panic!("{other:?}"),
            }
            break;
        }
        writes.push(write);
    }
    writes
}

impl Shared {
    fn draw(&self) -> Write {
        let any = || self.variants[draw(self.variants.len() as u64) as usize];
        let lines = [(any(), 1), (any(), 2), (any(), 3)];
        let user = unique("user");
        match draw(4) {
            0 => Write::new("/orders".to_owned(), order_body(&user, &lines), effect(lines, [-1, 0])),
            1 => Write::new("/holds".to_owned(), order_body(&user, &lines), effect(lines, [0, 1])),
            _ => {
                let path = format!("/inventory/{}/decrement", lines[0].0);
                Write::new(path, json!({"quantity": 1}), effect([lines[0]], [-1, 0]))
            }
        }
    }
}

fn effect(lines: impl IntoIterator<Item = (Uuid, i64)>, [on_hand, held]: [i64; 2]) -> Effect {
    lines.into_iter().map(|(variant, units)| (variant, [on_hand * units, held * units])).collect()
}

impl Write {
    fn new(path: String, body: Value, effect: Effect) -> Self {
        let insists = draw(2) == 0;
        Self { path, body, key: unique("key"), effect, insists, was_unknown: false, answer: None }
    }

    /// What may be done next with the order or hold that was answered.
    fn follow(&self, answer: &[u8]) -> Option<Self> {
        let made: Value = serde_json::from_slice(answer).unwrap();
        let lines = || {
            let line = |line: &Value| {
                (line["variant_id"].as_str().unwrap().parse().unwrap(), line["quantity"].as_i64().unwrap())
            };
            made["lines"].as_array().unwrap().iter().map(line).collect::<Vec<(Uuid, i64)>>()
        };
        let one = json!({"lines": [{"line_id": made["lines"][2]["line_id"], "quantity": 2}]});
        let of = |thing: &str, verb: &str| {
            format!("/{thing}s/{}/{verb}", made[format!("{thing}_id")].as_str().unwrap())
        };
        let (path, body, effect) = match (self.path.as_str(), draw(4)) {
            ("/orders", 0 | 1) => (of("order", "cancel"), json!({}), effect(lines(), [1, 0])),
            ("/orders", 2) => (of("order", "cancel"), one, effect([(lines()[2].0, 2)], [1, 0])),
            ("/holds", 0) => (of("hold", "release"), json!({}), effect(lines(), [0, -1])),
            ("/holds", 1) => (of("hold", "capture"), json!({}), effect(lines(), [-1, -1])),
            ("/holds", 2) => {
                let all = [effect(lines(), [0, -1]), effect([(lines()[2].0, 2)], [-1, 0])];
                (of("hold", "capture"), one, all.concat())
            }
            ("/holds", _) => (of("hold", "extend"), json!({"ttl_seconds": 600}), Vec::new()),
            _ => return None,
        };
        Some(Self::new(path, body, effect))
    }

    /// Sends it again with its key: it was done, or is done now.
    async fn settle(&self, client: &Client) {
        let reply = client.post_keyed(&self.path, &self.body, &self.key).await;
        assert!(matches!(reply.status.as_u16(), 200 | 201), "{} with {}: {reply:?}", self.path, self.key);
        if let Some((status, body)) = &self.answer {
            assert_eq!((reply.status.as_u16(), &reply.bytes[..]), (*status, &body[..]), "an answer changed");
            assert!(reply.was_replayed(), "acknowledged, lost, and done anew: {reply:?}");
        }
    }
}
