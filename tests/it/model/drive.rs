//! Asks the real service what the model is asked, and compares.

use std::sync::Arc;

use holdfast::app::App;
use holdfast::holds::expire::expire_due;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::shop::{Answer, Ask, By, Change, Line, Shop, Verb, amount, price};
use crate::support::books::end_hold_at;
use crate::support::{Client, Reply, Sender, unique};

/// One list of commands: things of its own in a shop that others use too.
pub struct Drive {
    replicas: [(Arc<App>, Client); 2],
    pool: PgPool,
    model: Shop,
    users: [String; 2],
    variants: Vec<Uuid>,
    orders: Vec<Value>,
    holds: Vec<Value>,
    /// What the service remembers, and its first answer.
    sent: Vec<(Request, Reply)>,
    asked: usize,
}

#[derive(Debug, Clone)]
enum Request {
    Call { path: String, body: Value, key: String },
    Event { id: String, data: Value },
}

type Found = Result<(), String>;

impl Drive {
    pub fn new(replicas: [(Arc<App>, Client); 2], pool: PgPool) -> Self {
        let users = [unique("ann"), unique("bob")];
        let (variants, orders, holds, sent) = Default::default();
        let (model, asked) = (Shop::default(), 0);
        Self { replicas, pool, model, users, variants, orders, holds, sent, asked }
    }

    pub fn model(&self) -> &Shop {
        &self.model
    }

    /// Asks both, each replica in its turn.
    pub async fn ask(&mut self, ask: &Ask) -> Found {
        self.asked += 1;
        let (app, client) = self.replicas[self.asked % 2].clone();
        let request = match ask {
            Ask::Lapse { hold } => {
                end_hold_at(&self.pool, &self.holds[*hold], "'2026-01-01'").await;
                None
            }
            Ask::Sweep => {
                expire_due(&app).await.unwrap();
                None
            }
            Ask::Repeat { sent } => Some(self.sent[*sent].0.clone()),
            Ask::Misuse { sent } => Some(self.sent[*sent].0.other()),
            new => Some(self.request(new)),
        };
        let remembered = self.model.sent.len();
        let expected = self.model.answer(ask);
        let (Some(request), Some(expected)) = (request, expected) else { return Ok(()) };
        let reply = request.send(&client).await;
        agree(&expected, &reply)?;
        match ask {
            Ask::Repeat { sent } if expected.is_replayed && reply.bytes != self.sent[*sent].1.bytes => {
                return Err(format!("the first answer was {:?}, this is {reply:?}", self.sent[*sent].1));
            }
            Ask::Create { .. } => self.variants.push(id(&reply.json(), "variant_id").parse().unwrap()),
            Ask::Place { .. } | Ask::Capture { .. } if reply.status == 201 => self.orders.push(reply.json()),
            Ask::Hold { .. } if reply.status == 201 => self.holds.push(reply.json()),
            _ => {}
        }
        if self.model.sent.len() > remembered {
            self.sent.push((request, reply));
        }
        Ok(())
    }

    fn request(&self, ask: &Ask) -> Request {
        let call = |path: String, body: Value| Request::Call { path, body, key: unique("key") };
        let keyed = |path: String, body: Value, user: usize| Request::Call {
            path,
            body,
            key: format!("k{}", self.model.next_key(user)),
        };
        let of_hold = |hold: usize, verb: &str| format!("/holds/{}/{verb}", id(&self.holds[hold], "hold_id"));
        match ask {
            Ask::Create { on_hand } => {
                let price = amount(price(self.variants.len()));
                let body = json!({"sku": unique("sku"), "name": "A thing", "price": price, "currency": "EUR",
                                  "on_hand": on_hand});
                call("/variants".to_owned(), body)
            }
            Ask::Change(change) => {
                let (verb, body) = change.body();
                call(format!("/inventory/{}/{verb}", self.variants[change.variant]), body)
            }
            Ask::Batch { atomic, changes } => {
                let operation = |change: &Change| {
                    let (verb, mut body) = change.body();
                    (body["op"], body["variant_id"]) = (json!(verb), json!(self.variants[change.variant]));
                    body
                };
                let operations: Vec<_> = changes.iter().map(operation).collect();
                let mode = if *atomic { "atomic" } else { "independent" };
                call("/inventory/batch".to_owned(), json!({"mode": mode, "operations": operations}))
            }
            Ask::Place { user, lines } => keyed("/orders".to_owned(), self.basket(*user, lines), *user),
            Ask::Hold { user, lines } => call("/holds".to_owned(), self.basket(*user, lines)),
            Ask::Cancel { order, lines, by } => self.cancellation(*order, lines.as_deref(), *by),
            Ask::CancelEarly { user } => {
                let key = format!("k{}", self.model.next_key(*user));
                Request::Event {
                    id: unique("event"),
                    data: json!({"user_id": self.users[*user], "idempotency_key": key}),
                }
            }
            Ask::Capture { hold, lines } => {
                let body = json!({"lines": lines.as_ref().map(|lines| parts(&self.holds[*hold], lines))});
                keyed(of_hold(*hold, "capture"), body, self.model.holds[*hold].user)
            }
            Ask::Release { hold } => call(of_hold(*hold, "release"), json!({})),
            Ask::Extend { hold } => call(of_hold(*hold, "extend"), json!({"ttl_seconds": 60})),
            Ask::Lapse { .. } | Ask::Sweep | Ask::Repeat { .. } | Ask::Misuse { .. } => unreachable!(),
        }
    }

    fn basket(&self, user: usize, lines: &[Line]) -> Value {
        let line =
            |(variant, units): &Line| json!({"variant_id": self.variants[*variant], "quantity": units});
        json!({"user_id": self.users[user], "lines": lines.iter().map(line).collect::<Vec<_>>()})
    }

    fn cancellation(&self, order: usize, lines: Option<&[Line]>, by: By) -> Request {
        let (there, known) = (&self.orders[order], &self.model.orders[order]);
        let mut data = match by {
            By::Call => json!({}),
            By::WebhookById => json!({"order_id": there["order_id"]}),
            By::WebhookByKey => {
                json!({"user_id": self.users[known.user], "idempotency_key": format!("k{}", known.key)})
            }
        };
        if let Some(lines) = lines {
            data["lines"] = parts(there, lines);
        }
        match by {
            By::Call => {
                let path = format!("/orders/{}/cancel", id(there, "order_id"));
                Request::Call { path, body: data, key: unique("key") }
            }
            _ => Request::Event { id: unique("event"), data },
        }
    }

    /// Looks at everything there is.
    pub async fn compare(&self) -> Found {
        let client = &self.replicas[0].1;
        for (place, variant) in self.model.variants.iter().enumerate() {
            let numbers = [
                ("/on_hand", variant.on_hand),
                ("/held", self.model.held(place)),
                ("/available", self.model.available(place)),
                ("/version", variant.version),
            ];
            let fields = numbers.map(|(at, number)| (at.to_owned(), json!(number))).to_vec();
            let expected = Answer { status: 200, code: "", fields, is_replayed: false };
            let reply = client.get(&format!("/inventory/{}", self.variants[place])).await;
            agree(&expected, &reply).map_err(|found| format!("in the end, variant {place}: {found}"))?;
        }
        for (order, there) in self.model.orders.iter().zip(&self.orders) {
            let reply = client.get(&format!("/orders/{}", id(there, "order_id"))).await;
            agree(&order.answer(200), &reply).map_err(|found| format!("in the end: {found}"))?;
        }
        for (hold, there) in self.model.holds.iter().zip(&self.holds) {
            let reply = client.get(&format!("/holds/{}", id(there, "hold_id"))).await;
            agree(&hold.answer(200), &reply).map_err(|found| format!("in the end: {found}"))?;
        }
        let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE user_id = ANY($1)")
            .bind(&self.users[..])
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let known = self.model.orders.len();
        if orders == known as i64 { Ok(()) } else { Err(format!("{orders} orders instead of {known}")) }
    }
}

fn id<'a>(thing: &'a Value, name: &str) -> &'a str {
    thing[name].as_str().unwrap()
}

/// So many of some lines of an order or a hold.
fn parts(of: &Value, lines: &[Line]) -> Value {
    let part = |(line, units): &Line| json!({"line_id": of["lines"][*line]["line_id"], "quantity": units});
    lines.iter().map(part).collect()
}

fn agree(expected: &Answer, reply: &Reply) -> Found {
    expected.differs(reply.status.as_u16(), reply.was_replayed(), &reply.json()).map_or(Ok(()), Err)
}

impl Change {
    fn body(&self) -> (&'static str, Value) {
        match self.verb {
            Verb::Decrement => ("decrement", json!({"quantity": self.units})),
            Verb::Increment => ("increment", json!({"quantity": self.units})),
            Verb::Adjust => {
                let mut body = json!({"delta": self.units, "reason": "recount"});
                if let Some(believed) = self.believed {
                    body["change_from"] = json!(believed);
                }
                ("adjust", body)
            }
        }
    }
}

impl Request {
    async fn send(&self, client: &Client) -> Reply {
        match self {
            Self::Call { path, body, key } => client.post_keyed(path, body, key).await,
            Self::Event { id, data } => Sender::to(client).cancel(id, data).await,
        }
    }

    /// Another request with its key or id, which would be a good one.
    fn other(&self) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::Event { data, .. } => data["reason"] = json!("another"),
            Self::Call { path, body, .. } => match path.rsplit('/').next().unwrap() {
                "variants" => body["name"] = json!("Another thing"),
                "decrement" | "increment" | "adjust" | "cancel" => body["reason"] = json!("another"),
                "batch" => body["operations"][0]["reason"] = json!("another"),
                "orders" | "capture" => body["metadata"] = json!({"another": true}),
                "holds" => body["ttl_seconds"] = json!(61),
                "extend" => body["ttl_seconds"] = json!(61),
                "release" => (*path, *body) = (path.replace("release", "extend"), json!({"ttl_seconds": 60})),
                path => unreachable!("{path}"),
            },
        }
        other
    }
}
