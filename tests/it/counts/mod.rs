//! Counting the warehouse: racks, sessions, batches, conflicts, posting.

use holdfast::http::auth::Scope;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Client, Reply, TestApp};

mod racks;

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
