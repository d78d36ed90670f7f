//! Every example of the description is sent, to a service that has what it speaks of, and is answered as described.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast::http::api::Operation;
use holdfast::http::api::document::{example_of, key_example, parameters_of};
use holdfast::http::api::operation::Key;
use holdfast::http::api::routes::groups;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::sender::{SECRET, in_seconds, standard};
use crate::support::{Client, Reply, Stream, TestApp, TestDatabase, shared_redis};

/// The ids of things, which examples have of their own and the service makes anew.
const IDS: [&str; 8] =
    ["variant_id", "order_id", "line_id", "hold_id", "invoice_id", "endpoint_id", "entry_id", "conflict_id"];
/// The time of the examples: records of a count are of now.
const THEN: &str = "2026-03-31T10:00:00Z";

/// Calls, in an order in which each finds what it speaks of.
const STORY: &[&str] = &[
    "variants.create variants.list variants.get inventory.get inventory.movements inventory.check inventory.check_bulk",
    "inventory.adjust inventory.decrement inventory.increment inventory.batch inventory.audit inventory.audits",
    "orders.place orders.list orders.get orders.history orders.look_up_key orders.cancel",
    "holds.hold holds.list holds.get holds.extend holds.capture holds.hold holds.release",
    "orders.place webhooks.receive webhooks.list_inbox webhooks.replay",
    "racks.register racks.import racks.list racks.available racks.floors sessions.open racks.claim racks.status",
    "sessions.heartbeat sync.heartbeat sessions.presence sessions.list sessions.get racks.pause racks.resume racks.renew",
    "racks.release racks.claim locks.status locks.release racks.claim",
    "sync.batch sync.import sessions.records sessions.variances sessions.export conflicts.auto_resolve racks.complete",
    "pos.save pos.get pos.history pos.submit pos.return",
    "invoices.check invoices.take_in invoices.list invoices.get invoices.receive",
    "invoices.take_batch invoices.override invoices.void invoices.get_policy invoices.set_policy",
    "markers.start markers.get_of_file markers.get markers.beat markers.finish markers.start markers.fail",
    "markers.start markers.clear markers.start markers.clear_of_file",
    "endpoints.register endpoints.list endpoints.get endpoints.deliveries endpoints.replay endpoints.rotate",
    "endpoints.remove operations.status keys.whoami metrics.read health.live health.ready",
    "test.decrement test.hold_lock test.clear_locks test.lock_status",
];
/// Calls that are made in a way of their own.
const APART: [&str; 4] = ["conflicts.list", "conflicts.resolve", "sessions.discard", "sessions.post"];

struct Story {
    client: Client,
    calls: BTreeMap<&'static str, (&'static str, Operation)>,
    /// What the service made of the ids in the examples, and the newest fence.
    made: BTreeMap<&'static str, Value>,
    told: BTreeMap<&'static str, usize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_answered_as_described() {
    let served = [("HOLDFAST_TEST_ENDPOINTS", "true")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &served).await;
    let groups = groups(true).into_iter();
    let calls =
        groups.flat_map(|group| group.operations.into_iter().map(move |call| (call.id, (group.root, call))));
    let calls: BTreeMap<_, _> = calls.collect();
    let mut story = Story { client: app.client.clone(), calls, made: BTreeMap::new(), told: BTreeMap::new() };
    for id in STORY.iter().flat_map(|line| line.split(' ')) {
        story.tell(id).await;
    }
    story.conflict().await;
    story.learned_name().await;
    let stream = Stream::open(&app.client, "?types=stock.*,order.placed").await;
    drop(stream);
    let told: BTreeSet<_> = story.told.keys().copied().chain(["events.stream"]).collect();
    let all: BTreeSet<_> = story.calls.keys().copied().collect();
    assert_eq!(told, all, "a call has no place in the story of the examples");
    app.finish().await;
}

impl Story {
    async fn tell(&mut self, id: &'static str) {
        let (root, call) = &self.calls[id];
        let mut path = format!("{root}{}", call.path);
        for name in parameters_of(call.path) {
            let example = call.in_path.unwrap_or_else(|| example_of(name));
            path = path.replace(&format!("{{{name}}}"), &self.now(example));
        }
        let told = self.told.get(id).copied().unwrap_or_default();
        let mut headers = Vec::new();
        if call.key != Key::Ignored {
            let again = if told == 0 { String::new() } else { format!("-{told}") };
            headers.push(("idempotency-key".to_owned(), key_example(call) + &again));
        }
        let mut body = String::new();
        if let Some(example) = call.example.clone() {
            let example = self.with_what_was_made(example);
            if call.takes.body.is_some() {
                headers.push(("content-type".to_owned(), call.takes.media_type().to_owned()));
                body = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            } else {
                path = format!("{path}?{}", query(&example));
            }
        }
        if call.takes.is_signed {
            let now = in_seconds(0);
            headers.push(("webhook-signature".to_owned(), standard(SECRET, "msg_1", &now, body.as_bytes())));
            headers.extend([
                ("webhook-id".to_owned(), "msg_1".to_owned()),
                ("webhook-timestamp".to_owned(), now),
            ]);
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let method: Method = call.method.clone();
        let statuses: Vec<_> = call.successes.iter().map(|success| success.status).collect();
        let reply = self.client.send(method, &path, &headers, body.clone()).await.unwrap();
        assert!(statuses.contains(&reply.status.as_u16()), "{id} {path} {body}: {reply:?}");
        *self.told.entry(id).or_default() += 1;
        self.note(&reply);
    }

    /// A record that contradicts itself, and a person who decides.
    async fn conflict(&mut self) {
        let session = example_of("session_id");
        let now = holdfast::clock::shown_now().to_rfc3339();
        let record = json!({
            "client_record_id": "tablet-3/2", "session_id": session, "item_code": "15056BL", "verified_qty": 7,
            "damage_qty": 9, "created_at": now, "updated_at": now,
        });
        let reply = self.client.post("/sync/batch", &json!({"records": [record]})).await.expect(200);
        assert_eq!(reply.json()["conflicts"][0]["conflict_type"], "invalid_quantity");
        self.client.post("/sessions", &json!({"session_id": "tablet-3-spare"})).await.expect(201);
        for id in APART {
            self.tell(id).await;
        }
    }

    /// A vendor's name that was learned in error.
    async fn learned_name(&mut self) {
        let receipt = |vendor: &str| {
            json!({"account_id": example_of("account_id"), "vendor_name": vendor, "invoice_number": "17",
                   "invoice_date": "2026-03-31", "total": "4.50", "currency": "EUR", "on_duplicate": "flag"})
        };
        self.client.post("/invoices", &receipt("Parkhaus Nord 2")).await.expect(201);
        let alike = self.client.post("/invoices", &receipt("Parkhaus Nord 1")).await.expect(201).json();
        let path = format!("/invoices/{}/override", alike["invoice_id"].as_str().unwrap());
        self.client.post(&path, &json!({"reason": "a second receipt"})).await.expect(200);
        self.tell("invoices.forget_name").await;
    }

    /// What stands for an example now.
    fn now(&self, example: &str) -> String {
        let id = IDS.iter().find(|name| example_of(name) == example);
        let made = id.and_then(|name| self.made.get(name)).and_then(Value::as_str);
        made.unwrap_or(example).to_owned()
    }

    fn with_what_was_made(&self, example: Value) -> Value {
        match example {
            Value::String(text) if text == THEN => holdfast::clock::shown_now().to_rfc3339().into(),
            Value::String(text) => self.now(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.with_what_was_made(item)).collect(),
            Value::Object(fields) => {
                let field = |(name, field): (String, Value)| match self.made.get("fence") {
                    Some(fence) if name == "fence" => (name, fence.clone()),
                    _ => (name, self.with_what_was_made(field)),
                };
                Value::Object(fields.into_iter().map(field).collect())
            }
            other => other,
        }
    }

    /// Keeps the ids of an answer: of several of one name the outermost.
    fn note(&mut self, reply: &Reply) {
        let Ok(told) = serde_json::from_slice::<Value>(&reply.bytes) else { return };
        let mut seen = BTreeSet::new();
        let mut left = VecDeque::from([&told]);
        while let Some(value) = left.pop_front() {
            left.extend(value.as_array().into_iter().flatten());
            for (name, field) in value.as_object().into_iter().flatten() {
                left.push_back(field);
                let known = IDS.iter().chain(&["fence"]).find(|known| *known == name);
                if let Some(known) = known.filter(|_| !field.is_null())
                    && seen.insert(*known)
                {
                    self.made.insert(known, field.clone());
                }
            }
        }
    }
}

fn query(example: &Value) -> String {
    let fields = example.as_object().unwrap().iter();
    let written = fields.map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", value.replace(' ', "%20").replace(',', "%2C").replace('*', "%2A"))
    });
    written.collect::<Vec<_>>().join("&")
}
