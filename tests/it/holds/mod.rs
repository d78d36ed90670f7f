//! Stock that is kept while the customer pays.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::books::end_hold_at;
use crate::support::{Client, Reply, TestApp, unique};

mod capture;
mod expire;
mod extend;
mod hold;
mod purge;
mod races;
mod read;
mod release;
mod replace;

/// Asks for a hold.
async fn hold(client: &Client, user: &str, lines: &[(Uuid, i64)]) -> Reply {
    let lines: Vec<_> =
        lines.iter().map(|(variant, units)| json!({"variant_id": variant, "quantity": units})).collect();
    client.post_keyed("/holds", &json!({"user_id": user, "lines": lines}), &unique("hold")).await
}

/// A hold, as it was answered.
async fn held(app: &TestApp, lines: &[(Uuid, i64)]) -> Value {
    hold(&app.client, "ann", lines).await.expect(201).json()
}

async fn resolve(client: &Client, hold: &Value, verb: &str, body: &Value) -> Reply {
    let path = format!("/holds/{}/{verb}", hold["hold_id"].as_str().unwrap());
    client.post_keyed(&path, body, &unique(verb)).await
}

/// What is on hand, held and available.
async fn level(client: &Client, variant: Uuid) -> [i64; 3] {
    let level = client.get(&format!("/inventory/{variant}")).await.expect(200).json();
    ["on_hand", "held", "available"].map(|name| level[name].as_i64().unwrap())
}

/// Lets the time of a hold be over.
async fn lapse(app: &TestApp, hold: &Value) {
    end_at(app, hold, "'2026-01-01'").await;
}

/// Sets the time at which a hold ends.
async fn end_at(app: &TestApp, hold: &Value, time: &str) {
    end_hold_at(&app.database.pool, hold, time).await;
}
