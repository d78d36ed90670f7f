//! Counting the warehouse: racks, sessions, batches, conflicts, posting.

use holdfast::http::auth::Scope;
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, Reply, TestApp};

mod anchors;
mod fences;
mod files;
mod lapses;
mod leads;
mod one_count;
mod posting;
mod purge;
mod racks;
mod replicas;
mod shelf;
mod sync;
mod warehouse;

/// A call under the root that field devices know.
async fn call(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Reply {
    let body = body.map(Value::to_string).unwrap_or_default();
    let headers = [("content-type", "application/json")];
    client.send(method, &format!("/api{path}"), &headers, body).await.unwrap()
}

async fn post(client: &Client, path: &str, body: &Value) -> Reply {
    call(client, Method::POST, path, Some(body)).await
}

async fn get(client: &Client, path: &str) -> Reply {
    call(client, Method::GET, path, None).await
}

/// A counter's device.
async fn counter(app: &TestApp, user: &str) -> Client {
    app.client_of(user, &[Scope::Warehouse]).await
}

/// Claims a rack, which is registered by it if need be. Gives the session and the fence.
async fn claimed(client: &Client, rack: &str) -> (String, i64) {
    let claim =
        post(client, &format!("/racks/{rack}/claim"), &json!({"floor": "Ground"})).await.expect(200).json();
    (claim["session_id"].as_str().unwrap().to_owned(), claim["fence"].as_i64().unwrap())
}

/// Lets the claim of a rack be over, by the database's clock.
async fn lapse(app: &TestApp, rack: &str) {
    let lapsed = sqlx::query(
        "UPDATE leases SET expires_at = clock_timestamp() - interval '1 millisecond' WHERE name = 'rack:lock:' || $1",
    )
    .bind(rack)
    .execute(&app.database.pool)
    .await
    .unwrap();
    assert_eq!(lapsed.rows_affected(), 1);
}

async fn sku_of(client: &Client, variant: Uuid) -> String {
    let found = client.get(&format!("/variants/{variant}")).await.expect(200).json();
    found["sku"].as_str().unwrap().to_owned()
}

/// A record without a rack, counted now.
fn record(id: &str, session: &str, sku: &str, units: i64) -> Value {
    json!({"client_record_id": id, "session_id": session, "item_code": sku, "verified_qty": units,
           "created_at": "2026-01-01T10:00:00Z", "updated_at": "2026-01-01T10:00:00Z"})
}

/// Sends a batch and gives what it came to.
async fn batch(client: &Client, records: &[Value]) -> Value {
    post(client, "/sync/batch", &json!({"records": records})).await.expect(200).json()
}

/// Whose records are under `list`.
fn ids<'a>(told: &'a Value, list: &str) -> Vec<&'a str> {
    let records = told[list].as_array().unwrap().iter();
    records.map(|told| told.as_str().or(told["client_record_id"].as_str()).unwrap_or_default()).collect()
}

fn conflict_types(told: &Value) -> Vec<&str> {
    told["conflicts"].as_array().unwrap().iter().map(|told| told["conflict_type"].as_str().unwrap()).collect()
}
