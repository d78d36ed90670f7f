//! Looking at orders.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, TestApp, unique};

/// All pages of the orders that `filter` lets through, each of at most `limit`.
async fn all_pages(client: &Client, filter: &str, limit: usize) -> Vec<Value> {
    let (mut orders, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/orders?limit={limit}{filter}{cursor}")).await.expect(200).json();
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit);
        assert!(found.iter().all(|order| !orders.contains(order)), "a page repeats what an earlier one had");
        orders.extend(found.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return orders,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_read_as_it_was_placed() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (a, b) = (app.client.variant(5).await, app.client.priced_variant(5, "0.1", "EUR").await);
        let placed =
            app.client.order("ann", &unique("k"), &[(b, 1), (a, 2), (b, 3)]).await.expect(201).json();
        let read =
            app.client.get(&format!("/orders/{}", placed["order_id"].as_str().unwrap())).await.expect(200);
        assert_eq!(read.json(), placed);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_never_placed_is_not_found() {
    let app = TestApp::without_redis().await;
    let unknown = Uuid::now_v7();
    assert_eq!(app.client.get(&format!("/orders/{unknown}")).await.expect(404).code(), "order_not_found");
    let cancel = app.client.post(&format!("/orders/{unknown}/cancel"), &json!({})).await.expect(404);
    assert_eq!(cancel.code(), "order_not_found");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_newest_first_by_user_and_status_page_by_page_without_repeats() {
    let app = TestApp::start().await;
    let id = app.client.variant(100).await;
    let mut placed = Vec::new();
    for number in 0..9 {
        let user = if number % 3 == 0 { "bob" } else { "ann" };
        let order = app.client.order(user, &unique("k"), &[(id, 2)]).await.expect(201).json();
        let (path, line) =
            (format!("/orders/{}", order["order_id"].as_str().unwrap()), &order["lines"][0]["line_id"]);
        // Of three orders one stays, one is cancelled in part and one whole.
        match number / 3 {
            0 => {}
            1 => {
                let some = json!({"lines": [{"line_id": line, "quantity": 1}]});
                app.client.post(&format!("{path}/cancel"), &some).await.expect(200);
            }
            _ => {
                app.client.post(&format!("{path}/cancel"), &json!({})).await.expect(200);
            }
        }
        placed.insert(
            0,
            (user, ["placed", "partly_cancelled", "cancelled"][number / 3], order["order_id"].clone()),
        );
    }
    for user in [None, Some("ann"), Some("bob"), Some("nobody")] {
        for status in [None, Some("placed"), Some("partly_cancelled"), Some("cancelled")] {
            let expected: Vec<_> = placed
                .iter()
                .filter(|(by, state, _)| {
                    user.is_none_or(|user| user == *by) && status.is_none_or(|s| s == *state)
                })
                .map(|(_, _, order_id)| order_id.clone())
                .collect();
            let mut filter = user.map_or_else(String::new, |user| format!("&user_id={user}"));
            filter += &status.map_or_else(String::new, |status| format!("&status={status}"));
            for limit in [1, 2, 1000] {
                let listed = all_pages(&app.client, &filter, limit).await;
                let ids: Vec<_> = listed.iter().map(|order| order["order_id"].clone()).collect();
                assert_eq!(ids, expected, "{filter} by pages of {limit}");
            }
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_by_the_time_they_were_placed_at_from_the_first_moment_to_before_the_last() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(100).await;
    let mut placed = Vec::new();
    for number in 0..8 {
        let user = if number % 2 == 0 { "ann" } else { "bob" };
        placed.insert(0, app.client.order(user, &unique("k"), &[(id, 1)]).await.expect(201).json());
    }
    // Two at the very same moment.
    let together = "UPDATE orders SET placed_at = (SELECT placed_at FROM orders WHERE order_id = $1) WHERE order_id = $2";
    let order_id = |order: &Value| order["order_id"].as_str().unwrap().parse::<Uuid>().unwrap();
    sqlx::query(together)
        .bind(order_id(&placed[3]))
        .bind(order_id(&placed[4]))
        .execute(&app.database.pool)
        .await
        .unwrap();
    placed[4]["placed_at"] = placed[3]["placed_at"].clone();
    let at = |index: usize| placed[index]["placed_at"].as_str().unwrap();
    for (from, to, range) in [
        (Some(at(5)), None, 0..6),
        (None, Some(at(5)), 6..8),
        (Some(at(5)), Some(at(2)), 3..6),
        (Some(at(3)), Some(at(2)), 3..5),
        (Some(at(2)), Some(at(2)), 0..0),
        (Some("2000-01-01T00:00:00Z"), Some("2999-01-01T00:00:00%2B02:00"), 0..8),
        (None, Some("2000-01-01T00:00:00Z"), 0..0),
    ] {
        for user in [None, Some("ann")] {
            let of_user = |order: &&Value| user.is_none_or(|user| order["user_id"] == user);
            let expected: Vec<_> = placed[range.clone()].iter().filter(of_user).cloned().collect();
            let mut filter = user.map_or_else(String::new, |user| format!("&user_id={user}"));
            filter += &from.map_or_else(String::new, |from| format!("&from={from}"));
            filter += &to.map_or_else(String::new, |to| format!("&to={to}"));
            for limit in [1, 2, 1000] {
                assert_eq!(all_pages(&app.client, &filter, limit).await, expected, "{filter} by {limit}");
            }
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_order_is_the_one_that_is_read() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(100).await;
    for _ in 0..3 {
        app.client.order("ann", &unique("k"), &[(id, 2), (id, 1)]).await.expect(201);
    }
    for order in all_pages(&app.client, "", 2).await {
        let read =
            app.client.get(&format!("/orders/{}", order["order_id"].as_str().unwrap())).await.expect(200);
        assert_eq!(read.json(), order);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_bought_keeps_the_name_and_price_it_had() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let placed = app.client.order("ann", &unique("k"), &[(id, 1)]).await.expect(201).json();
    sqlx::query("UPDATE variants SET price = 99, sku = 'renamed'").execute(&app.database.pool).await.unwrap();
    let read = app.client.get(&format!("/orders/{}", placed["order_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(read.json(), placed);
    let dearer = app.client.order("ann", &unique("k"), &[(id, 1)]).await.expect(201).json();
    assert_eq!((&dearer["total"], &dearer["lines"][0]["sku"]), (&json!("99.00"), &json!("renamed")));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_never_read_half_before_and_half_after_its_cancellation() {
    let app = TestApp::start().await;
    let variant = app.client.variant(1_000).await;
    for round in 0..40 {
        let placed =
            app.client.order(&unique("ann"), "k", &[(variant, 2), (variant, 3)]).await.expect(201).json();
        let path = format!("/orders/{}", placed["order_id"].as_str().unwrap());
        let (client, cancelled) = (app.client.clone(), format!("{path}/cancel"));
        let cancel = tokio::spawn(async move { client.post(&cancelled, &json!({})).await });
        loop {
            let seen = app.client.get(&path).await.expect(200).json();
            let left: i64 = seen["lines"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line["quantity"].as_i64().unwrap() - line["cancelled_quantity"].as_i64().unwrap())
                .sum();
            let expected = if left == 0 { "cancelled" } else { "placed" };
            assert_eq!(seen["status"], expected, "round {round}: {seen}");
            if left == 0 {
                break;
            }
        }
        cancel.await.unwrap().expect(200);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_users_orders_come_in_the_order_in_which_they_were_placed_whatever_the_clocks_of_replicas_say() {
    let app = TestApp::start().await;
    let id = app.client.variant(10).await;
    let mut placed = Vec::new();
    for _ in 0..3 {
        placed.push(app.client.order("ann", &unique("k"), &[(id, 1)]).await.expect(201).json());
    }
    // As if the first two had been given their ids by replicas whose clocks are behind.
    for (hours, order) in placed[..2].iter().enumerate() {
        sqlx::query(
            "UPDATE orders SET placed_at = now() + make_interval(hours => $1) WHERE order_id = $2::uuid",
        )
        .bind(2 - i32::try_from(hours).unwrap())
        .bind(order["order_id"].as_str().unwrap())
        .execute(&app.database.pool)
        .await
        .unwrap();
    }
    for filter in ["&user_id=ann", "", "&user_id=ann&status=placed", "&status=placed"] {
        let listed: Vec<_> = all_pages(&app.client, filter, 2).await.iter().map(id_of).collect();
        assert_eq!(listed, placed.iter().map(id_of).collect::<Vec<_>>(), "{filter}");
    }
    let lost = app.client.get(&format!("/orders?user_id=ann&cursor={}", Uuid::now_v7())).await.expect(422);
    assert_eq!(lost.json()["errors"][0]["field"], "cursor");
    app.finish().await;
}

fn id_of(order: &Value) -> String {
    order["order_id"].as_str().unwrap().to_owned()
}
