//! One race: the order and the hold that it is about, and what both acts send.

use std::sync::Arc;

use holdfast::app::App;
use holdfast::holds::expire::expire_due;
use hyper::body::Bytes;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::table::Act;
use crate::support::books::end_hold_at;
use crate::support::client::order_body;
use crate::support::link::draw;
use crate::support::{Client, Peer, Reply, Sender, TestApp, at_once, unique};

/// Two replicas.
#[derive(Clone)]
pub struct Shops {
    pool: PgPool,
    apps: [(Arc<App>, Client); 2],
}

impl Shops {
    pub fn new(app: &TestApp, peer: &Peer) -> Self {
        let apps = [(app.app.clone(), app.client.clone()), (peer.app.clone(), peer.client.clone())];
        Self { pool: app.database.pool.clone(), apps }
    }

    fn any(&self) -> &Client {
        &self.apps[draw(2) as usize].1
    }
}

/// What an act sends; twice the same is the same request.
#[derive(Clone)]
enum Sent {
    Call {
        path: String,
        body: Value,
        key: String,
    },
    Event {
        id: String,
        data: Value,
    },
    /// The time of this hold is over.
    Time {
        hold: Value,
    },
}

impl Sent {
    /// Sends it to a replica, and gives in a word what came of it, and all that was answered.
    async fn send(&self, shops: &Shops, replica: usize) -> (String, Bytes) {
        let (app, client) = &shops.apps[replica];
        let reply = match self {
            Self::Call { path, body, key } => client.post_keyed(path, body, key).await,
            Self::Event { id, data } => Sender::to(client).cancel(id, data).await,
            Self::Time { hold } => {
                end_hold_at(&shops.pool, hold, "'2026-01-01'").await;
                expire_due(app).await.unwrap();
                return ("over".to_owned(), Bytes::new());
            }
        };
        (told(&reply), reply.bytes)
    }
}

fn told(reply: &Reply) -> String {
    let answer = reply.json();
    let word = match answer["result"].as_str() {
        _ if !reply.status.is_success() => return reply.code(),
        _ if reply.was_replayed() => "replayed",
        _ if answer["duplicate"] == true => "duplicate",
        Some(result) => result,
        None if reply.status == 201 && answer["status"] == "cancelled" => "born",
        None if reply.status == 201 => "placed",
        None => "done",
    };
    word.to_owned()
}

pub struct Round {
    variant: Uuid,
    hold: Option<Value>,
    sent: [Sent; 2],
}

/// What a round is about, before anybody acts.
struct World {
    user: String,
    variant: Uuid,
    /// The request that made the hold, and the hold.
    hold: Option<(Sent, Value)>,
    /// The order that is there, and the entry of an event that was refused and can be carried out now.
    order: Option<Value>,
    refused: Option<(Sent, Value)>,
    /// The key of the order that is placed or captured in the race.
    key: String,
}

impl Round {
    pub async fn begin(shops: &Shops, acts: [Act; 2]) -> Self {
        let world = World::make(shops, acts).await;
        let sent = match acts {
            [Act::Again, Act::Again] => {
                let placed = world.place(&world.user, &world.key, 2);
                assert_eq!(placed.send(shops, 0).await.0, "placed");
                [placed.clone(), placed]
            }
            [Act::Again, other] | [other, Act::Again] => {
                let sent = world.sends(other, acts);
                [world.again(other, &sent), sent]
            }
            acts => acts.map(|act| world.sends(act, acts)),
        };
        Self { variant: world.variant, hold: world.hold.map(|(_, hold)| hold), sent }
    }

    /// Both at once, each to a replica of its own; what they were told.
    pub async fn race(&self, shops: &Shops) -> [String; 2] {
        let first = draw(2) as usize;
        let answers = at_once(2, |n| {
            let (sent, shops, replica) = (self.sent[n].clone(), shops.clone(), (first + n) % 2);
            async move { sent.send(&shops, replica).await }
        })
        .await;
        let [(one, bytes), (other, again)] = <[(String, Bytes); 2]>::try_from(answers).unwrap();
        if let [Sent::Call { key, .. }, Sent::Call { key: same, .. }] = &self.sent
            && key == same
        {
            assert_eq!(bytes, again, "one key, one answer");
        }
        [one, other]
    }

    /// What is on hand and held.
    pub async fn level(&self, shops: &Shops) -> [i64; 2] {
        let level = shops.any().get(&format!("/inventory/{}", self.variant)).await.expect(200).json();
        ["on_hand", "held"].map(|name| level[name].as_i64().unwrap())
    }

    /// Whatever is still held is not needed any more: so no sweep finds it, and no database fills up with it.
    pub async fn give_up(&self, shops: &Shops) {
        if let Some(hold) = &self.hold {
            let path = format!("/holds/{}/release", hold["hold_id"].as_str().unwrap());
            let _given_up_or_over = shops.any().post(&path, &json!({})).await;
        }
    }
}

impl World {
    async fn make(shops: &Shops, acts: [Act; 2]) -> Self {
        let has = |some: &[Act]| acts.iter().any(|act| some.contains(act));
        let held = has(&[Act::Capture, Act::Release, Act::Extend, Act::Expire, Act::Replace]);
        let comes = has(&[Act::Place, Act::Capture]);
        let ordered = has(&[Act::Cancel, Act::Replay]) || (has(&[Act::Webhook]) && !comes);
        let units = 2 * i64::from(held) + 2 * i64::from(ordered);
        let variant = shops.any().variant(units.max(2)).await;
        let mut world =
            Self { user: unique("ann"), variant, hold: None, order: None, refused: None, key: unique("key") };
        if held {
            let body = order_body(&world.user, &[(variant, 2)]);
            let sent = Sent::Call { path: "/holds".to_owned(), body, key: unique("hold") };
            let (_, hold) = sent.send(shops, 0).await;
            let hold = serde_json::from_slice(&hold).unwrap();
            world.hold = Some((sent, hold));
        }
        if ordered {
            let order = shops.any().order(&world.user, "before", &[(variant, 2)]).await.expect(201).json();
            if has(&[Act::Replay]) {
                world.refused = Some(refused(shops, &order).await);
            }
            world.order = Some(order);
        }
        world
    }

    fn place(&self, user: &str, key: &str, units: i64) -> Sent {
        let body = order_body(user, &[(self.variant, units)]);
        Sent::Call { path: "/orders".to_owned(), body, key: key.to_owned() }
    }

    /// What an act sends.
    fn sends(&self, act: Act, acts: [Act; 2]) -> Sent {
        let call = |path: String, body: Value| Sent::Call { path, body, key: unique("key") };
        let id = |thing: &Value, name: &str| thing[name].as_str().unwrap().to_owned();
        let of_hold = |verb: &str| format!("/holds/{}/{verb}", id(&self.hold.as_ref().unwrap().1, "hold_id"));
        match act {
            Act::Place if acts == [Act::Place; 2] => self.place(&unique("bob"), &unique("key"), 2),
            Act::Place if self.hold.is_some() || self.order.is_some() => {
                self.place(&unique("bob"), &unique("key"), 1)
            }
            Act::Place => self.place(&self.user, &self.key, 2),
            // With one key the second would be the first one's repetition.
            Act::Capture if acts == [Act::Capture; 2] => call(of_hold("capture"), json!({})),
            Act::Capture => Sent::Call { path: of_hold("capture"), body: json!({}), key: self.key.clone() },
            Act::Cancel => {
                let order = id(self.order.as_ref().unwrap(), "order_id");
                call(format!("/orders/{order}/cancel"), json!({}))
            }
            Act::Webhook => Sent::Event { id: unique("event"), data: self.named() },
            Act::Replay => {
                let (_, entry) = self.refused.as_ref().unwrap();
                call(format!("/webhooks/inbox/{}/replay", id(entry, "entry_id")), json!({}))
            }
            Act::Expire => {
                let (_, hold) = self.hold.as_ref().unwrap();
                Sent::Time { hold: hold.clone() }
            }
            Act::Release => call(of_hold("release"), json!({})),
            Act::Extend => call(of_hold("extend"), json!({"ttl_seconds": 60})),
            Act::Replace => {
                let mut body = order_body(&self.user, &[(self.variant, 1)]);
                body["replaces"] = self.hold.as_ref().unwrap().1["hold_id"].clone();
                call("/holds".to_owned(), body)
            }
            Act::Again => unreachable!("it sends what another one sends"),
        }
    }

    /// What is sent once more of what an act sends: the same, but for acts that have another who repeats them.
    fn again(&self, act: Act, sent: &Sent) -> Sent {
        match (act, &self.hold, &self.refused) {
            (Act::Expire, Some((held, _)), _) => held.clone(),
            (Act::Replay, _, Some((event, _))) => event.clone(),
            _ => sent.clone(),
        }
    }

    /// What an event calls the order it cancels.
    fn named(&self) -> Value {
        let by_key = |key: &str| json!({"user_id": self.user, "idempotency_key": key});
        match &self.order {
            None => by_key(&self.key),
            Some(_) if draw(2) == 0 => by_key("before"),
            Some(order) => json!({"order_id": order["order_id"]}),
        }
    }
}

/// An event that was refused, for somebody had spoilt the order behind the service's back and has mended it since.
async fn refused(shops: &Shops, order: &Value) -> (Sent, Value) {
    let spoil = async |units: i64| {
        let spoil = "UPDATE order_lines SET cancelled_quantity = $1 WHERE order_id::text = $2";
        let order_id = order["order_id"].as_str();
        sqlx::query(spoil).bind(units).bind(order_id).execute(&shops.pool).await.unwrap();
    };
    let line = json!({"line_id": order["lines"][0]["line_id"], "quantity": 1});
    let event = unique("event");
    let data = json!({"order_id": order["order_id"], "lines": [line]});
    spoil(2).await;
    Sender::to(shops.any()).cancel(&event, &data).await.expect(409);
    spoil(0).await;
    let found = shops.any().get("/webhooks/inbox?state=refused&limit=1").await.expect(200).json();
    let entry = found["items"][0].clone();
    assert_eq!(entry["event_id"], event);
    (Sent::Event { id: event, data }, entry)
}
