//! What lapses is told of as an event, and so is what comes back.

use serde_json::{Value, json};

use super::{batch, claimed, counter, get, lapse, post, record, sku_of};
use crate::support::campaign::amount;
use crate::support::{Stranger, TestApp, TestDatabase, shared_redis, unique};

/// The events of a subject as `kind state`, in their order.
async fn told(app: &TestApp, field: &str, id: &str) -> Vec<String> {
    let rows: Vec<(String, Value)> =
        sqlx::query_as("SELECT kind, data FROM events WHERE data->>$1 = $2 ORDER BY position")
            .bind(field)
            .bind(id)
            .fetch_all(&app.database.pool)
            .await
            .unwrap();
    rows.iter().map(|(kind, data)| format!("{kind} {}", data["state"].as_str().unwrap_or("-"))).collect()
}

async fn tell(app: &TestApp) {
    holdfast::counts::lapses::tell(&app.app).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_lapses_is_told_of_once_and_so_is_its_coming_back() {
    let app = TestApp::without_redis().await;
    let (ann, bob, rack) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("R"));
    let (session, _) = claimed(&ann, &rack).await;
    tell(&app).await;
    lapse(&app, &rack).await;
    tell(&app).await;
    tell(&app).await;
    post(&ann, &format!("/racks/{rack}/renew"), &json!({"session_id": session})).await.expect(200);
    tell(&app).await;
    lapse(&app, &rack).await;
    tell(&app).await;
    // Whoever comes next is told of as ever, and so is who lets it go.
    let (others, _) = claimed(&bob, &rack).await;
    tell(&app).await;
    post(&bob, &format!("/racks/{rack}/release"), &json!({"session_id": others})).await.expect(200);
    tell(&app).await;
    let lapses = ["rack.claimed active", "rack.released available"];
    assert_eq!(told(&app, "rack_id", &rack).await, [lapses, lapses, lapses].concat());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_posted_or_given_up_lets_its_racks_go_be_they_paused() {
    let app = TestApp::start().await;
    let (ann, bob) = (counter(&app, "ann").await, counter(&app, "bob").await);
    let redis = Stranger::at(&shared_redis()).await;
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    for verb in ["post", "discard"] {
        let (paused, held) = (unique("R"), unique("R"));
        let (session, _) = claimed(&ann, &paused).await;
        let by = json!({"session_id": session, "floor": "Ground"});
        post(&ann, &format!("/racks/{paused}/pause"), &json!({"session_id": session})).await.expect(200);
        post(&ann, &format!("/racks/{held}/claim"), &by).await.expect(200);
        let path = format!("/sessions/{session}/{verb}");
        // What is refused lets nothing go.
        if verb == "post" {
            assert_eq!(post(&bob, &path, &json!({})).await.expect(409).code(), "nothing_to_post");
        }
        post(&bob, &format!("/racks/{held}/claim"), &json!({})).await.expect(409);
        batch(&ann, &[record("1", &session, &sku, 8)]).await;
        post(&bob, &path, &json!({})).await.expect(200);
        for (rack, before) in [(&paused, "rack.paused paused"), (&held, "rack.claimed active")] {
            let events = told(&app, "rack_id", rack).await;
            assert_eq!(events[events.len() - 2..], [before, "rack.released available"]);
            assert_eq!(redis.holder(&format!("rack:lock:{rack}")).await, None);
            claimed(&bob, rack).await;
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_which_nothing_is_heard_is_told_of_and_so_is_its_coming_back() {
    let app = TestApp::without_redis().await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    post(&ann, "/sessions", &json!({"session_id": session})).await.expect(201);
    tell(&app).await;
    sqlx::query("UPDATE count_sessions SET last_seen_at = clock_timestamp() - interval '61 minutes'")
        .execute(&app.database.pool)
        .await
        .unwrap();
    for _ in 0..2 {
        tell(&app).await;
    }
    post(&ann, &format!("/sessions/{session}/heartbeat"), &json!({})).await.expect(200);
    for _ in 0..2 {
        tell(&app).await;
    }
    let expected = ["session.started -", "session.ended lapsed", "session.updated open"];
    assert_eq!(told(&app, "session_id", &session).await, expected);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_and_what_a_person_decides_is_told_of_once() {
    let app = TestApp::without_redis().await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let mut odd = record("2", &session, &sku, 3);
    odd["damage_qty"] = json!(4);
    for _ in 0..2 {
        batch(&ann, &[record("1", &session, &sku, 5), odd.clone()]).await;
    }
    let inbox = get(&ann, "/sync/conflicts").await.expect(200).json();
    let path = format!("/sync/conflicts/{}/resolve", inbox["items"][0]["conflict_id"].as_str().unwrap());
    post(&ann, &path, &json!({"resolution": "ignore"})).await.expect(200);
    let told: Vec<Value> =
        sqlx::query_scalar("SELECT data FROM events WHERE kind = 'session.updated' ORDER BY position")
            .fetch_all(&app.database.pool)
            .await
            .unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((&told[0]["records"], &told[0]["conflicts"]), (&json!(1), &json!(1)));
    assert_eq!((&told[1]["resolution"], &told[1]["resolved_by"]), (&json!("ignore"), &json!("ann")));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_posted_while_it_claims_its_rack_again_holds_it_no_more() {
    let settings = [("HOLDFAST_SYNC_BATCHES_PER_MINUTE", "1000000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &settings).await;
    let ann = counter(&app, "ann").await;
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    for _ in 0..amount(10, 500) {
        let rack = unique("R");
        let (session, _) = claimed(&ann, &rack).await;
        batch(&ann, &[record("1", &session, &sku, 8)]).await;
        let (claim, posting) = (json!({"session_id": session}), json!({}));
        let (claim_path, post_path) = (format!("/racks/{rack}/claim"), format!("/sessions/{session}/post"));
        let (claim, posted) = tokio::join!(post(&ann, &claim_path, &claim), post(&ann, &post_path, &posting));
        posted.expect(200);
        if claim.status != 200 {
            assert_eq!((claim.status.as_u16(), claim.code()), (409, "session_posted".into()));
        }
        let held =
            "leases l JOIN count_sessions s ON s.session_id = l.owner WHERE is_over AND l.ended_at IS NULL";
        assert_eq!(app.count(held).await, 0);
    }
    app.finish().await;
}
