//! Cancellations that others send.

mod burst;
mod early;
mod faults;
mod inbox;
mod metrics;
mod purge;
mod races;
mod receive;
mod signed;

use hyper::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, Reply, TestApp, invariants};

/// What a delivery was answered, but for its lock, whose mode must be one.
#[track_caller]
fn told(reply: &Reply) -> Value {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let mut told = reply.json();
    let lock = told.as_object_mut().unwrap().remove("lock").unwrap();
    assert!(matches!(lock["mode"].as_str(), Some("two_layer" | "database_only")), "{reply:?}");
    assert!(reply.header("lock-mode").is_some());
    told
}

fn by_id(order: &Value) -> Value {
    json!({"order_id": order["order_id"]})
}

fn by_key(user: &str, key: &str) -> Value {
    json!({"user_id": user, "idempotency_key": key})
}

async fn read(client: &Client, order_id: &Value) -> Value {
    client.get(&format!("/orders/{}", order_id.as_str().unwrap())).await.expect(200).json()
}

async fn cancel_by_api(client: &Client, order_id: &Value) -> Reply {
    client.post(&format!("/orders/{}/cancel", order_id.as_str().unwrap()), &json!({})).await
}

/// What must hold whoever raced: the stock is what it opened with less what is still bought, and all invariants.
async fn assert_books(app: &TestApp, variants: &[Uuid], opening: i64) {
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM stock WHERE variant_id = ANY($1) AND on_hand <> $2 - coalesce((
             SELECT sum(quantity - cancelled_quantity) FROM order_lines l WHERE l.variant_id = stock.variant_id), 0)",
    )
    .bind(variants)
    .bind(opening)
    .fetch_one(&app.database.pool)
    .await
    .unwrap();
    assert_eq!(wrong, 0, "levels that are not what is left");
    invariants::hold(&app.database.pool).await;
}
