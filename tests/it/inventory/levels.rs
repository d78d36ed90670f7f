//! Looking: variants, levels now and then, movements.

use std::collections::HashSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, TestApp};

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

/// All pages of a list, each of at most `limit` items.
async fn all_pages(client: &Client, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}?limit={limit}{cursor}")).await.expect(200).json();
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit);
        assert!(found.iter().all(|item| !items.contains(item)), "a page repeats what an earlier one had");
        items.extend(found.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => {
                assert_eq!(found.len(), limit, "only the last page is short");
                cursor = format!("&cursor={next}");
            }
            None => return items,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_are_listed_in_the_order_they_were_made_page_by_page_without_repeats() {
    let app = TestApp::without_redis().await;
    let mut made = Vec::new();
    for on_hand in 0..7 {
        made.push(app.client.variant(on_hand).await.to_string());
    }
    for limit in [1, 2, 3, 7, 1000] {
        let listed = all_pages(&app.client, "/variants", limit).await;
        let ids: Vec<_> = listed.iter().map(|variant| variant["variant_id"].as_str().unwrap()).collect();
        assert_eq!(ids, made, "by pages of {limit}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_is_found_by_its_id_and_by_its_sku() {
    let app = TestApp::without_redis().await;
    app.client.variant(1).await;
    let body = json!({"sku": "a b&c=%", "name": "n", "price": "2", "currency": "EUR", "on_hand": 3});
    let made = app.client.post("/variants", &body).await.expect(201).json();
    let id = made["variant_id"].as_str().unwrap();
    assert_eq!(app.client.get(&format!("/variants/{id}")).await.expect(200).json(), made);
    let found = app.client.get("/variants?sku=a%20b%26c%3D%25").await.expect(200).json();
    assert_eq!(found, json!({"items": [made], "next_cursor": null}));
    let none = app.client.get("/variants?sku=A%20b").await.expect(200).json();
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_says_what_there_is_and_its_tag_changes_with_it() {
    let app = TestApp::start().await;
    let id = app.client.variant(12).await;
    let path = format!("/inventory/{id}");
    let mut tags = HashSet::new();
    for (on_hand, status) in
        [(12, "in_stock"), (11, "in_stock"), (10, "low_stock"), (1, "low_stock"), (0, "out_of_stock")]
    {
        let now = app.client.on_hand(id).await;
        if now > on_hand {
            app.client.decrement(id, now - on_hand).await.expect(200);
        }
        let reply = app.client.get(&path).await.expect(200);
        let level = reply.json();
        let version = tags.len() + 1;
        assert_eq!(
            level,
            json!({"variant_id": id, "sku": level["sku"], "on_hand": on_hand, "held": 0, "available": on_hand,
                   "stock_status": status, "version": version, "updated_at": level["updated_at"]})
        );
        assert!(level["updated_at"].as_str().unwrap().ends_with('Z'));
        assert!(tags.insert(reply.header("etag").unwrap().to_owned()), "the tag is new");
        assert_eq!(app.client.get(&path).await.header("etag"), reply.header("etag"));
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn movements_are_listed_newest_first_and_densely_numbered() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    for quantity in 1..=4 {
        app.client.decrement(id, quantity).await.expect(200);
    }
    app.client.variant(5).await;
    for limit in [1, 2, 5, 1000] {
        let listed = all_pages(&app.client, &format!("/inventory/{id}/movements"), limit).await;
        let seen: Vec<_> = listed
            .iter()
            .map(|m| [&m["version"], &m["delta"], &m["new_quantity"]].map(|number| number.as_i64().unwrap()))
            .collect();
        assert_eq!(seen, [[5, -4, 0], [4, -3, 4], [3, -2, 7], [2, -1, 9], [1, 10, 10]]);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_movement_is_the_one_that_was_answered() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(10).await;
        let body = json!({"quantity": 3, "reason": "till 4", "reference": "receipt-9"});
        let answered = app.client.post(&format!("/inventory/{id}/decrement"), &body).await.expect(200).json();
        let listed = app.client.get(&format!("/inventory/{id}/movements?limit=1")).await.expect(200).json();
        assert_eq!(listed["items"][0], answered);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balance_at_a_time_is_what_the_movements_left_by_then() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    for quantity in 1..=3 {
        app.client.decrement(id, quantity).await.expect(200);
    }
    let movements = app.client.get(&format!("/inventory/{id}/movements")).await.json();
    let sku = app.client.get(&format!("/inventory/{id}")).await.json()["sku"].clone();
    for movement in movements["items"].as_array().unwrap() {
        let at = movement["created_at"].as_str().unwrap();
        let then = app.client.get(&format!("/inventory/{id}?at={at}")).await.expect(200).json();
        assert_eq!(
            then,
            json!({"variant_id": id, "sku": sku, "on_hand": movement["new_quantity"],
                   "version": movement["version"], "at": at})
        );
    }
    for (at, on_hand, version) in [("0001-01-01T00:00:00Z", 0, 0), ("9999-12-31T23:59:59Z", 4, 4)] {
        let then = app.client.get(&format!("/inventory/{id}?at={at}")).await.expect(200).json();
        assert_eq!((&then["on_hand"], &then["version"]), (&json!(on_hand), &json!(version)));
    }
    // The same moment, said in another zone.
    let newest = movements["items"][0]["created_at"].as_str().unwrap().replace('Z', "%2B00:00");
    app.client.get(&format!("/inventory/{id}?at={newest}")).await.expect(200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_found_by_any_call() {
    let app = TestApp::without_redis().await;
    for path in [
        format!("/variants/{NOBODY}"),
        format!("/inventory/{NOBODY}"),
        format!("/inventory/{NOBODY}?at=2026-01-01T00:00:00Z"),
        format!("/inventory/{NOBODY}/movements"),
        format!("/inventory/check-stock/{NOBODY}?quantity=1"),
    ] {
        let reply = app.client.get(&path).await.expect(404);
        assert_eq!(reply.code(), "variant_not_found", "{path}");
    }
    for (verb, body) in [
        ("adjust", json!({"delta": 1, "reason": "r"})),
        ("decrement", json!({"quantity": 1})),
        ("increment", json!({"quantity": 1})),
    ] {
        let reply = app.client.post(&format!("/inventory/{NOBODY}/{verb}"), &body).await.expect(404);
        assert_eq!(reply.code(), "variant_not_found", "{verb}");
        let error = &reply.json()["errors"][0];
        assert_eq!((&error["field"], &error["variant_id"]), (&json!("variant_id"), &json!(NOBODY)));
    }
    assert_eq!(app.count("stock_movements").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_without_movements_has_an_empty_list_and_nothing_at_any_time() {
    let app = TestApp::without_redis().await;
    let id: Uuid = app.client.variant(0).await;
    let listed = app.client.get(&format!("/inventory/{id}/movements")).await.expect(200).json();
    assert_eq!(listed, json!({"items": [], "next_cursor": null}));
    let then = app.client.get(&format!("/inventory/{id}?at=2026-01-01T00:00:00Z")).await.expect(200).json();
    assert_eq!((&then["on_hand"], &then["version"]), (&json!(0), &json!(0)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_while_others_sell_never_sees_an_older_level_or_half_a_sale() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(100).await;
        let seller = app.client.clone();
        let selling = tokio::spawn(async move {
            for _ in 0..40 {
                seller.decrement(id, 2).await.expect(200);
            }
        });
        let mut last = 1;
        while !selling.is_finished() {
            let level = app.client.get(&format!("/inventory/{id}")).await.expect(200).json();
            let version = level["version"].as_i64().unwrap();
            assert!(version >= last, "{version} after {last}");
            assert_eq!(level["on_hand"], 100 - 2 * (version - 1));
            last = version;
        }
        selling.await.unwrap();
        app.finish().await;
    }
}

#[tokio::test]
async fn variants_are_found_by_how_their_sku_begins_page_by_page() {
    let app = TestApp::without_redis().await;
    for sku in ["GLOBE-2", "GLOBE-1", "GLOBE", "globe-3", "GLOB", "GLOBUS", "GLOBE-%", "GLOBE-\u{1F30D}"] {
        let made = json!({"sku": sku, "name": "A globe", "price": "1", "currency": "EUR"});
        app.client.post("/variants", &made).await.expect(201);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page =
            app.client.get(&format!("/variants?sku_prefix=GLOBE&limit=2{cursor}")).await.expect(200).json();
        let items = page["items"].as_array().unwrap().iter();
        found.extend(items.map(|one| one["sku"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, ["GLOBE", "GLOBE-%", "GLOBE-1", "GLOBE-2", "GLOBE-\u{1F30D}"]);
    let all = app.client.get("/variants?sku_prefix=%25").await.expect(200).json();
    assert_eq!(all["items"], json!([]), "it is no pattern");
    app.client.get("/variants?sku_prefix=").await.expect(422);
    app.finish().await;
}
