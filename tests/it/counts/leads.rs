//! What a warehouse lead looks through: sessions, and the records behind a count.

use serde_json::{Value, json};

use super::{batch, claimed, counter, get, post, record, sku_of};
use crate::support::{Client, TestApp, TestDatabase, unique};

async fn ids(client: &Client, query: &str) -> (Vec<String>, Value) {
    let page = get(client, &format!("/sessions{query}")).await.expect(200).json();
    let items = page["items"].as_array().unwrap().iter();
    (items.map(|one| one["session_id"].as_str().unwrap().to_owned()).collect(), page["next_cursor"].clone())
}

#[tokio::test]
async fn sessions_are_listed_the_last_heard_of_first_page_by_page_and_by_user_and_state() {
    let app = TestApp::without_redis().await;
    let (ann, bob) = (counter(&app, "ann").await, counter(&app, "bob").await);
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let (silent, _) = claimed(&bob, &unique("R")).await;
    let (posted, _) = claimed(&ann, &unique("R")).await;
    let (open, _) = claimed(&ann, &unique("R")).await;
    batch(&ann, &[record("1", &posted, &sku, 9), record("2", &open, &sku, 9), record("3", &open, &sku, -1)])
        .await;
    post(&ann, &format!("/sessions/{posted}/post"), &json!({})).await.expect(200);
    sqlx::query(
        "UPDATE count_sessions SET last_seen_at = last_seen_at - interval '2 hours' WHERE session_id = $1",
    )
    .bind(&silent)
    .execute(&app.database.pool)
    .await
    .unwrap();
    let (all, end) = ids(&ann, "").await;
    assert_eq!((all.len(), &all[2], end), (3, &silent, json!(null)));
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let (page, next) = ids(&ann, &format!("?limit=1{cursor}")).await;
        paged.extend(page);
        let Some(next) = next.as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);
    for (query, one) in [
        ("?user_id=bob", &silent),
        ("?state=lapsed", &silent),
        ("?state=posted", &posted),
        ("?state=open", &open),
    ] {
        assert_eq!(ids(&ann, query).await.0, [one.as_str()], "{query}");
    }
    let listed = get(&ann, "/sessions?state=open").await.expect(200).json()["items"][0].clone();
    assert_eq!(listed, get(&ann, &format!("/sessions/{open}")).await.expect(200).json());
    assert_eq!((&listed["finalized_records"], &listed["open_conflicts"]), (&json!(1), &json!(1)));
    assert_eq!(get(&ann, "/sessions?state=over").await.expect(422).code(), "validation_failed");
    app.finish().await;
}

#[tokio::test]
async fn the_records_of_a_session_are_listed_all_or_of_an_item() {
    let app = TestApp::without_redis().await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let (one, other) = (app.client.variant(10).await, app.client.variant(10).await);
    let (sku, other_sku) = (sku_of(&app.client, one).await, sku_of(&app.client, other).await);
    let mut numbered = record("1", &session, &sku, 4);
    numbered["serial_numbers"] = json!(["SN-1"]);
    numbered["damage_qty"] = json!(1);
    batch(&ann, &[numbered, record("2", &session, &other_sku, 7), record("3", &session, &sku, 5)]).await;
    let path = format!("/sessions/{session}/records");
    let of_one = get(&ann, &format!("{path}?item_code={sku}")).await.expect(200).json();
    let told: Vec<_> = of_one["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["client_record_id"].as_str().unwrap(), one["verified_qty"].as_i64().unwrap()))
        .collect();
    assert_eq!(told, [("1", 4), ("3", 5)]);
    let first = &of_one["items"][0];
    assert_eq!((&first["serial_numbers"], &first["damage_qty"]), (&json!(["SN-1"]), &json!(1)));
    assert_eq!(
        (&first["item_code"], &first["variant_id"], &first["status"]),
        (&json!(sku), &json!(one), &json!("finalized"))
    );
    let page = get(&ann, &format!("{path}?limit=2")).await.expect(200).json();
    assert_eq!(page["next_cursor"], "2");
    let rest = get(&ann, &format!("{path}?limit=2&cursor=2")).await.expect(200).json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &json!(null)));
    assert_eq!(get(&ann, "/sessions/nobody/records").await.expect(404).code(), "session_not_found");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_imposes_blindness_on_one_session_and_a_setting_on_all() {
    let app = TestApp::without_redis().await;
    let (ann, bob) = (counter(&app, "ann").await, counter(&app, "bob").await);
    let for_ann = json!({"session_id": "of-ann", "user_id": "ann", "blind": true});
    assert_eq!(post(&bob, "/sessions", &for_ann).await.expect(403).code(), "forbidden");
    let opened = post(&app.client, "/sessions", &for_ann).await.expect(201).json();
    assert_eq!((&opened["user_id"], &opened["blind"]), (&json!("ann"), &json!(true)));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let by = json!({"floor": "1", "session_id": "of-ann"});
    post(&ann, "/racks/R-1/claim", &by).await.expect(200);
    assert_eq!(post(&bob, "/racks/R-2/claim", &by).await.expect(403).code(), "not_session_owner");
    batch(&ann, &[record("1", "of-ann", &sku, 8)]).await;
    let line = get(&ann, "/sessions/of-ann/variances").await.expect(200).json()["lines"][0].clone();
    assert_eq!((&line["counted_qty"], &line["expected_qty"]), (&json!(8), &Value::Null));
    assert_eq!(get(&ann, "/sessions/of-ann").await.json()["blind"], true);
    app.finish().await;

    let blind = [("HOLDFAST_BLIND_COUNTS", "true")];
    let app = TestApp::with(TestDatabase::fresh().await, None, &blind).await;
    let ann = counter(&app, "ann").await;
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let (claimed, _) = claimed(&ann, "R-1").await;
    batch(&ann, &[record("1", "sent", &sku, 8)]).await;
    post(&ann, "/sessions", &json!({"session_id": "opened", "blind": false})).await.expect(201);
    for session in [claimed.as_str(), "sent", "opened"] {
        assert_eq!(get(&ann, &format!("/sessions/{session}")).await.json()["blind"], true, "{session}");
    }
    app.finish().await;
}
