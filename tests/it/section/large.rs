//! Requests over very many items: they go one after the other, and stand in nobody's way before it is their turn.

use axum::http::Method;
use holdfast::section::share::at_once;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::SOON;
use crate::support::client::order_body;
use crate::support::{HeldRow, TestApp, eventually};

/// More items than a request may want that shares a section.
const MANY: usize = 70;

async fn lines(app: &TestApp) -> Vec<(Uuid, i64)> {
    let mut lines = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        lines.push((app.client.variant(10).await, 1));
    }
    lines
}

/// Large orders that stand still in the middle of their sections, as many as there may be. The first is over these lines.
async fn blockers(app: &TestApp, first: &[(Uuid, i64)]) -> (Vec<HeldRow>, Vec<JoinHandle<()>>) {
    let (mut rows, mut orders) = (Vec::new(), Vec::new());
    for number in 0..at_once() {
        let lines = if number == 0 { first.to_vec() } else { lines(app).await };
        let row = HeldRow::of(&app.database, lines[0].0).await;
        let client = app.client.clone();
        orders.push(tokio::spawn(async move {
            client.order("blocker", &format!("blocker-{number}"), &lines).await.expect(201);
        }));
        row.until_wanted_by(1, &app.database.pool).await;
        rows.push(row);
    }
    (rows, orders)
}

#[tokio::test]
async fn a_large_order_that_waits_for_others_as_large_stands_in_nobodys_way() {
    let app = TestApp::start().await;
    let (rows, orders) = blockers(&app, &lines(&app).await).await;
    let waiting = lines(&app).await;
    let item = waiting[1].0;
    let client = app.client.clone();
    let last = tokio::spawn(async move { client.order("last", "last", &waiting).await });
    eventually(SOON, "it waits", async || app.app.sections.large.waiting() == 1).await;
    app.client.decrement(item, 1).await.expect(200);
    assert_eq!(app.app.sections.large.waiting(), 1, "the small one went first");
    for row in rows {
        row.let_go().await;
    }
    for order in orders {
        order.await.unwrap();
    }
    last.await.unwrap().expect(201);
    assert_eq!(app.client.on_hand(item).await, 8);
    app.finish().await;
}

#[tokio::test]
async fn one_that_does_not_care_to_wait_for_others_as_large_is_told_and_its_repetition_that_it_is_under_way()
{
    let app = TestApp::start().await;
    let (blocked, wanted) = (lines(&app).await, lines(&app).await);
    let (rows, orders) = blockers(&app, &blocked).await;
    let order = async |user: &str, key: &str, lines: &[(Uuid, i64)]| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key), ("prefer", "wait=0")];
        let body = order_body(user, lines).to_string();
        app.client.send(Method::POST, "/api/v1/orders", &headers, body).await.unwrap()
    };
    let refused = order("impatient", "key", &wanted).await.expect(503);
    assert_eq!(refused.code(), "overloaded");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(app.client.on_hand(wanted[0].0).await, 10);
    let again = order("blocker", "blocker-0", &blocked).await.expect(409);
    assert_eq!(again.code(), "idempotency_in_flight");
    for row in rows {
        row.let_go().await;
    }
    for order in orders {
        order.await.unwrap();
    }
    order("impatient", "key", &wanted).await.expect(201);
    app.finish().await;
}

#[tokio::test]
async fn an_order_of_very_many_lines_shares_with_nobody_though_they_are_all_of_one_item() {
    let app = TestApp::start().await;
    let item = app.client.variant(10_000).await;
    let row = HeldRow::of(&app.database, item).await;
    let mut orders = Vec::new();
    for (number, lines) in [1, 300, 300, 1, 1].into_iter().enumerate() {
        let client = app.client.clone();
        let lines = vec![(item, 1); lines];
        orders.push(tokio::spawn(async move { client.order("ann", &format!("k{number}"), &lines).await }));
        eventually(SOON, "it has come", async || app.app.locks.in_line(item) == number + 1).await;
    }
    row.let_go().await;
    for order in orders {
        order.await.unwrap().expect(201);
    }
    let commits: Vec<i64> = sqlx::query_scalar(
        "SELECT count(DISTINCT order_id) FROM stock_movements WHERE order_id IS NOT NULL GROUP BY xmin::text
         HAVING count(*) >= 300",
    )
    .fetch_all(&app.database.pool)
    .await
    .unwrap();
    assert_eq!(commits, [1, 1]);
    app.finish().await;
}
