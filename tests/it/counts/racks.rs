//! Who counts which rack.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::{batch, call, claimed, counter, get, ids, lapse, post, record, sku_of};
use crate::support::campaign::{amount, report};
use crate::support::link::Link;
use crate::support::{
    Client, Peer, Private, Proxy, Stranger, TestApp, TestDatabase, at_once, eventually, shared_redis, unique,
};

const MINUTE: u64 = 60;
/// Nothing takes longer, on the slowest machine.
const SOON: Duration = Duration::from_secs(60);

async fn state(client: &Client, rack: &str) -> Value {
    get(client, &format!("/racks/{rack}/status")).await.expect(200).json()["state"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rack_is_claimed_renewed_paused_resumed_and_completed_with_redis_and_without() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (ann, rack) = (counter(&app, "ann").await, unique("R"));
        post(&ann, "/racks", &json!({"rack_id": rack, "floor": "Ground", "name": "By the door"}))
            .await
            .expect(201);
        let again = post(&ann, "/racks", &json!({"rack_id": rack, "floor": "First"})).await;
        assert_eq!((again.status.as_u16(), again.code().as_str()), (409, "rack_exists"));
        assert_eq!(state(&ann, &rack).await, "available");
        let claim = call(&ann, Method::POST, &format!("/racks/{rack}/claim"), None).await.expect(200).json();
        assert_eq!(
            (&claim["success"], &claim["rack_id"], &claim["floor"], &claim["lock_ttl"]),
            (&json!(true), &json!(rack), &json!("Ground"), &json!(MINUTE))
        );
        let session = json!({"session_id": claim["session_id"]});
        for (verb, after) in [
            ("renew", "active"),
            ("pause", "paused"),
            ("pause", "paused"),
            ("resume", "active"),
            ("complete", "completed"),
            ("complete", "completed"),
        ] {
            let done = post(&ann, &format!("/racks/{rack}/{verb}"), &session).await.expect(200).json();
            assert_eq!((&done["state"], &done["fence"]), (&json!(after), &claim["fence"]), "{verb}");
            assert_eq!(state(&ann, &rack).await, after, "{verb}");
        }
        let (_, fence) = claimed(&ann, &rack).await;
        assert!(fence > claim["fence"].as_i64().unwrap());
        // Each is told once, however often it was asked for.
        let told: Vec<String> =
            sqlx::query_scalar("SELECT kind FROM events WHERE about = 'rack' ORDER BY event_id")
                .fetch_all(&app.database.pool)
                .await
                .unwrap();
        let then = ["rack.claimed", "rack.paused", "rack.resumed", "rack.completed", "rack.claimed"];
        assert_eq!(told, [&["rack.registered"][..], &then].concat());
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_of_one_user_never_share_a_rack() {
    let app = TestApp::start().await;
    let (ann, rack) = (counter(&app, "ann").await, unique("R"));
    let (session, fence) = claimed(&ann, &rack).await;
    let other = post(&ann, &format!("/racks/{rack}/claim"), &json!({})).await;
    assert_eq!((other.status.as_u16(), other.code().as_str()), (409, "rack_locked"));
    let told = other.json();
    assert_eq!(told["holder"], "ann");
    assert!((1..=60).contains(&told["seconds_left"].as_i64().unwrap()));
    let told = &told["errors"][0]["actual"];
    assert_eq!(told["holder"], "ann");
    assert!((1..=60).contains(&told["seconds_left"].as_i64().unwrap()));
    // The device itself, whose answer was lost, has what it had.
    let same = post(&ann, &format!("/racks/{rack}/claim"), &json!({"session_id": session})).await.expect(200);
    assert_eq!(same.json()["fence"], fence);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_session_that_holds_a_rack_may_let_it_go() {
    let app = TestApp::start().await;
    let (ann, bob, rack) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("R"));
    let (session, _) = claimed(&ann, &rack).await;
    let (others, _) = claimed(&bob, &unique("R")).await;
    for (client, by) in [(&bob, &session), (&bob, &others), (&ann, &others), (&ann, &unique("nobody"))] {
        for verb in ["renew", "release", "pause", "resume", "complete"] {
            let refused = post(client, &format!("/racks/{rack}/{verb}"), &json!({"session_id": by})).await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "not_rack_owner"), "{verb}");
        }
    }
    assert_eq!(post(&ann, &format!("/racks/{rack}/release"), &json!({})).await.status, 422);
    assert_eq!(
        post(&ann, "/racks/nowhere/release", &json!({"session_id": session})).await.code(),
        "rack_not_found"
    );
    let path = format!("/racks/{rack}/release?session_id={session}");
    for _ in 0..2 {
        call(&ann, Method::POST, &path, None).await.expect(200);
    }
    assert_eq!(state(&ann, &rack).await, "available");
    claimed(&bob, &rack).await;
    assert_eq!(call(&ann, Method::POST, &path, None).await.code(), "not_rack_owner");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_lapsed_is_had_by_the_next_at_once_and_by_its_owner_no_more() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (ann, bob, rack) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("R"));
        let (session, fence) = claimed(&ann, &rack).await;
        post(&ann, &format!("/racks/{rack}/pause"), &json!({"session_id": session})).await.expect(200);
        let paused = post(&bob, &format!("/racks/{rack}/claim"), &json!({})).await;
        assert!(paused.json()["errors"][0]["actual"]["seconds_left"].as_i64().unwrap() > 1_000);
        lapse(&app, &rack).await;
        assert_eq!(state(&ann, &rack).await, "available");
        // Nobody came: it goes on.
        post(&ann, &format!("/racks/{rack}/resume"), &json!({"session_id": session})).await.expect(200);
        lapse(&app, &rack).await;
        let (_, next) = claimed(&bob, &rack).await;
        assert!(next > fence);
        let refused = post(&ann, &format!("/racks/{rack}/renew"), &json!({"session_id": session})).await;
        assert_eq!(refused.code(), "not_rack_owner");
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rack_that_nobody_registered_is_registered_by_the_claim_that_says_its_floor() {
    let app = TestApp::start().await;
    let (ann, rack) = (counter(&app, "ann").await, unique("R"));
    let unknown = post(&ann, &format!("/racks/{rack}/claim"), &json!({})).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (404, "rack_not_found"));
    claimed(&ann, &rack).await;
    let elsewhere = post(&ann, &format!("/racks/{rack}/claim"), &json!({"floor": "First"})).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.code().as_str()), (409, "rack_elsewhere"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racks_are_listed_by_floor_and_state() {
    let app = TestApp::without_redis().await;
    let ann = counter(&app, "ann").await;
    for (rack, floor) in [("A 1", "Ground"), ("A 2", "Ground"), ("B 1", "First")] {
        post(&ann, "/racks", &json!({"rack_id": rack, "floor": floor})).await.expect(201);
    }
    post(&ann, "/racks/A%202/claim", &json!({})).await.expect(200);
    let ids = async |path: &str| -> Vec<Value> {
        let page = get(&ann, path).await.expect(200).json();
        page["items"].as_array().unwrap().iter().map(|rack| rack["rack_id"].clone()).collect()
    };
    assert_eq!(ids("/racks").await, ["A 1", "A 2", "B 1"]);
    assert_eq!(ids("/racks?floor=Ground&state=active").await, ["A 2"]);
    assert_eq!(ids("/racks/available?floor=Ground").await, ["A 1"]);
    assert_eq!(ids("/racks?limit=1&cursor=A%201").await, ["A 2"]);
    let floors = get(&ann, "/racks/floors").await.expect(200).json();
    assert_eq!(
        floors["floors"][1],
        json!({"floor": "Ground", "racks": 2, "available": 1, "active": 1, "paused": 0, "completed": 0})
    );
    assert_eq!(get(&ann, "/racks?state=lost").await.status, 422);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_with_a_key_is_made_once_and_racks_differ_by_case() {
    let app = TestApp::start().await;
    let (ann, key) = (counter(&app, "ann").await, unique("key"));
    let (upper, lower) = (unique("RACK"), unique("rack"));
    let body = json!({"floor": "Ground"});
    let first = ann.post_keyed(&format!("/racks/{upper}/claim"), &body, &key).await.expect(200);
    let again = ann.post_keyed(&format!("/racks/{upper}/claim"), &body, &key).await.expect(200);
    assert!(again.was_replayed() && again.bytes == first.bytes);
    let other = ann.post_keyed(&format!("/racks/{lower}/claim"), &body, &key).await;
    assert_eq!(other.code(), "idempotency_key_reused");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_renews_session_rack_and_presence() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (ann, bob, rack) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("R"));
        let (session, _) = claimed(&ann, &rack).await;
        let old = "UPDATE count_sessions SET last_seen_at = clock_timestamp() - interval '2 hours'";
        sqlx::query(old).execute(&app.database.pool).await.unwrap();
        lapse(&app, &rack).await;
        assert_eq!(get(&ann, &format!("/sessions/{session}")).await.expect(200).json()["state"], "lapsed");
        assert_eq!(get(&bob, "/presence").await.expect(200).json()["items"], json!([]));
        let path = format!("/sync/heartbeat?session_id={session}&rack_id={rack}");
        let told = call(&ann, Method::POST, &path, None).await.expect(200).json();
        assert_eq!(
            (&told["success"], &told["session_id"], &told["user_id"], &told["rack_renewed"]),
            (&json!(true), &json!(session), &json!("ann"), &json!(true))
        );
        assert!(told["timestamp"].is_f64());
        assert_eq!(state(&ann, &rack).await, "active");
        assert_eq!(get(&ann, &format!("/sessions/{session}")).await.expect(200).json()["state"], "open");
        let present = get(&bob, "/presence").await.expect(200).json();
        assert_eq!(
            (&present["items"][0]["user_id"], &present["items"][0]["rack_id"]),
            (&json!("ann"), &json!(rack))
        );
        let alone = call(&ann, Method::POST, &format!("/sync/heartbeat?session_id={session}"), None).await;
        assert_eq!(alone.expect(200).json()["rack_renewed"], false);
        let last = call(&ann, Method::POST, &format!("/sessions/{session}/heartbeat"), None).await;
        assert_eq!(last.expect(200).json()["rack_renewed"], true);
        // Whoever lost the rack is told so, and keeps its session.
        lapse(&app, &rack).await;
        claimed(&bob, &rack).await;
        let lost = call(&ann, Method::POST, &path, None).await.expect(200).json();
        assert_eq!(lost["rack_renewed"], false);
        assert_eq!(call(&bob, Method::POST, &path, None).await.code(), "not_session_owner");
        let unknown = call(&ann, Method::POST, "/sync/heartbeat?session_id=nobody", None).await;
        assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (404, "session_not_found"));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_shows_who_holds_a_rack_and_who_is_there() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let (user, rack) = (unique("ann"), unique("R"));
    let ann = app.client_of(&user, &[holdfast::http::auth::Scope::Warehouse]).await;
    let (session, fence) = claimed(&ann, &rack).await;
    let shown = redis.holder(&format!("rack:lock:{rack}")).await.unwrap();
    assert!(shown.starts_with(&format!("lease:{fence}:")));
    let path = format!("/sync/heartbeat?session_id={session}&rack_id={rack}");
    call(&ann, Method::POST, &path, None).await.expect(200);
    for key in [format!("session:lock:{session}"), format!("user:heartbeat:{user}")] {
        assert!(redis.holder(&key).await.is_some(), "{key}");
    }
    post(&ann, &format!("/racks/{rack}/release"), &json!({"session_id": session})).await.expect(200);
    assert_eq!(redis.holder(&format!("rack:lock:{rack}")).await, None);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_that_race_for_a_rack_one_has_it_while_redis_is_cut_hangs_and_comes_back() {
    let redis = Private::redis().await;
    let way = Proxy::before_redis(&redis.url()).await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&way.redis_url()), &[]).await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    let (ann, rack) = (counter(&app, "ann").await, unique("R"));
    let bob = Client { address: peer.client.address, ..counter(&app, "bob").await };
    let (mut last, rounds) = (0, amount(40, 500));
    for round in 0..rounds {
        match round % 10 {
            0 => way.link(Link::Refused),
            3 => way.link(Link::BlackHole),
            6 => way.link(Link::Sound),
            _ => {}
        }
        let clients = [ann.clone(), bob.clone()];
        let claims = at_once(2, |n| {
            let (client, rack) = (clients[n].clone(), rack.clone());
            async move { post(&client, &format!("/racks/{rack}/claim"), &json!({"floor": "Ground"})).await }
        })
        .await;
        let won: Vec<_> = claims.iter().filter(|claim| claim.status == 200).collect();
        let refused =
            claims.iter().filter(|claim| claim.status == 409 && claim.code() == "rack_locked").count();
        assert_eq!((won.len(), refused), (1, 1), "{claims:?}");
        let fence = won[0].json()["fence"].as_i64().unwrap();
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        lapse(&app, &rack).await;
    }
    report(&format!(
        "{rounds} rounds of two sessions at one rack while Redis is cut, hangs and comes back: one owner"
    ));
    way.link(Link::Sound);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_claim_that_stands_completes_a_rack_and_a_completed_one_stays_so() {
    let app = TestApp::start().await;
    let (ann, rack) = (counter(&app, "ann").await, unique("R"));
    let verb = async |verb: &str, session: &str| {
        post(&ann, &format!("/racks/{rack}/{verb}"), &json!({"session_id": session})).await
    };
    let (session, _) = claimed(&ann, &rack).await;
    app.client
        .post(&format!("/locks/rack%3Alock%3A{rack}/release"), &json!({"reason": "broken device"}))
        .await
        .expect(200);
    assert_eq!(verb("complete", &session).await.code(), "not_rack_owner");
    assert_eq!(state(&ann, &rack).await, "available");
    let (session, _) = claimed(&ann, &rack).await;
    verb("release", &session).await.expect(200);
    assert_eq!(verb("complete", &session).await.code(), "not_rack_owner");
    assert_eq!(state(&ann, &rack).await, "available");
    let (session, _) = claimed(&ann, &rack).await;
    verb("complete", &session).await.expect(200);
    assert_eq!(verb("release", &session).await.expect(200).json()["state"], "completed");
    verb("complete", &session).await.expect(200);
    assert_eq!(state(&ann, &rack).await, "completed");
    assert_eq!(app.count("events WHERE kind = 'rack.completed'").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_races_with_a_pause_does_not_shorten_it() {
    let app = TestApp::without_redis().await;
    let (ann, rack) = (counter(&app, "ann").await, unique("R"));
    let (session, _) = claimed(&ann, &rack).await;
    // The pause is under way when the heartbeat comes: it has the lease's row.
    let mut pause = app.database.pool.begin().await.unwrap();
    for step in [
        "UPDATE leases SET expires_at = clock_timestamp() + interval '30 minutes' WHERE name = 'rack:lock:' || $1",
        "UPDATE racks SET paused_at = clock_timestamp() WHERE rack_id = $1",
    ] {
        sqlx::query(step).bind(&rack).execute(&mut *pause).await.unwrap();
    }
    let beat = tokio::spawn({
        let (ann, path) = (ann.clone(), format!("/sync/heartbeat?session_id={session}&rack_id={rack}"));
        async move { call(&ann, Method::POST, &path, None).await.expect(200) }
    });
    app.until_somebody_waits_for_a_row().await;
    pause.commit().await.unwrap();
    beat.await.unwrap();
    let bob = counter(&app, "bob").await;
    let paused = post(&bob, &format!("/racks/{rack}/claim"), &json!({})).await;
    assert!(paused.json()["seconds_left"].as_i64().unwrap() > 1_000);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_comes_again_ends_no_pause_and_the_end_by_an_operator_is_told() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (ann, rack) = (counter(&app, "ann").await, unique("R"));
        let (session, fence) = claimed(&ann, &rack).await;
        let by = json!({"session_id": session});
        post(&ann, &format!("/racks/{rack}/pause"), &by).await.expect(200);
        for verb in ["claim", "pause"] {
            let told = post(&ann, &format!("/racks/{rack}/{verb}"), &by).await.expect(200).json();
            assert_eq!((&told["state"], &told["fence"]), (&json!("paused"), &json!(fence)), "{verb}");
            let left = told["lock_ttl"].as_u64().unwrap();
            assert!((1_000..1_800).contains(&left), "{verb}: {left}");
        }
        assert_eq!(state(&ann, &rack).await, "paused");
        lapse(&app, &rack).await;
        let over = post(&ann, &format!("/racks/{rack}/pause"), &by).await.expect(200).json();
        assert_eq!((&over["state"], &over["lock_ttl"]), (&json!("available"), &json!(0)));
        post(&ann, &format!("/racks/{rack}/resume"), &by).await.expect(200);
        post(&ann, &format!("/racks/{rack}/pause"), &by).await.expect(200);
        let path = format!("/locks/rack%3Alock%3A{rack}/release");
        app.client.post(&path, &json!({"reason": "broken device"})).await.expect(200);
        assert_eq!(post(&ann, &format!("/racks/{rack}/pause"), &by).await.code(), "not_rack_owner");
        let told: Value = sqlx::query_scalar("SELECT data FROM events WHERE kind = 'rack.released'")
            .fetch_one(&app.database.pool)
            .await
            .unwrap();
        assert_eq!(
            (&told["session_id"], &told["fence"], &told["state"]),
            (&json!(session), &json!(fence), &json!("available"))
        );
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_claim_of_a_rack_waits_for_records_of_it_that_name_no_claim() {
    let app = TestApp::without_redis().await;
    let (ann, bob, rack) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("R"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    post(&ann, "/sessions", &json!({"session_id": "s"})).await.expect(201);
    // The batch has looked at the rack's claim, and waits for its session.
    let mut other = app.database.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM count_sessions WHERE session_id = 's' FOR UPDATE")
        .execute(&mut *other)
        .await
        .unwrap();
    let sent = tokio::spawn({
        let (ann, mut record) = (ann.clone(), record("1", "s", &sku, 4));
        record["rack_id"] = json!(rack);
        async move { batch(&ann, &[record]).await }
    });
    app.until_somebody_waits_for_a_row().await;
    let claim = tokio::spawn({
        let (bob, rack) = (bob.clone(), rack.clone());
        async move { claimed(&bob, &rack).await }
    });
    let waits = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                 WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted";
    eventually(SOON, "the claim waits", async || {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&app.database.pool).await.unwrap();
        waiting == 1
    })
    .await;
    other.commit().await.unwrap();
    assert_eq!(ids(&sent.await.unwrap(), "ok"), ["1"]);
    claim.await.unwrap();
    let in_order: bool = sqlx::query_scalar("SELECT synced_at < claimed_at FROM count_records, rack_claims")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert!(in_order, "a record was written past a claim");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_change_stands_for_the_session_that_makes_it_wherever_that_is_said() {
    let app = TestApp::without_redis().await;
    let (ann, rack, key) = (counter(&app, "ann").await, unique("R"), unique("key"));
    let (first, _) = claimed(&ann, &rack).await;
    let release = async |session: &str| {
        let path = format!("/racks/{rack}/release?session_id={session}");
        ann.post_keyed(&path, &json!({}), &key).await
    };
    let released = release(&first).await.expect(200);
    assert_eq!(release(&first).await.expect(200).bytes, released.bytes);
    // Another device of the same user, whose keys begin with the same numbers.
    let (second, _) = claimed(&ann, &rack).await;
    assert_eq!(release(&second).await.expect(422).code(), "idempotency_key_reused");
    assert_eq!(state(&ann, &rack).await, "active");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_its_claim_was_heard_of() {
    let app = TestApp::without_redis().await;
    let (ann, rack) = (counter(&app, "ann").await, unique("R"));
    let (session, _) = claimed(&ann, &rack).await;
    for verb in ["renew", "pause", "claim", "resume", "complete", "release"] {
        let old = "UPDATE count_sessions SET last_seen_at = clock_timestamp() - interval '2 minutes'";
        sqlx::query(old).execute(&app.database.pool).await.unwrap();
        assert_eq!(get(&ann, "/presence").await.expect(200).json()["items"], json!([]), "{verb}");
        post(&ann, &format!("/racks/{rack}/{verb}"), &json!({"session_id": session})).await.expect(200);
        let present = get(&ann, "/presence").await.expect(200).json();
        assert_eq!(present["items"][0]["session_id"], session, "{verb}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_does_not_wait_for_the_batches_under_its_claim() {
    let app = TestApp::without_redis().await;
    let (ann, rack) = (counter(&app, "ann").await, unique("R"));
    let (session, _) = claimed(&ann, &rack).await;
    // A batch has its claim, and its session.
    let mut batch = app.database.pool.begin().await.unwrap();
    for (held, by) in [
        ("SELECT FROM leases WHERE name = 'rack:lock:' || $1 FOR KEY SHARE", &rack),
        ("UPDATE count_sessions SET last_seen_at = clock_timestamp() WHERE session_id = $1", &session),
    ] {
        sqlx::query(held).bind(by).execute(&mut *batch).await.unwrap();
    }
    for verb in ["renew", "pause", "resume"] {
        post(&ann, &format!("/racks/{rack}/{verb}"), &json!({"session_id": session})).await.expect(200);
    }
    batch.commit().await.unwrap();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_whoever_goes_on_with_a_claim_that_lapsed_and_whoever_claims_its_rack_one_has_it() {
    let app = TestApp::without_redis().await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    let ann = counter(&app, "ann").await;
    let bob = Client { address: peer.client.address, ..counter(&app, "bob").await };
    for round in 0..amount(12, 300) {
        let rack = unique("R");
        let (session, _) = claimed(&ann, &rack).await;
        let verb = ["renew", "resume", "heartbeat"][round % 3];
        if verb == "resume" {
            post(&ann, &format!("/racks/{rack}/pause"), &json!({"session_id": session})).await.expect(200);
        }
        lapse(&app, &rack).await;
        let told = at_once(2, |n| {
            let (ann, bob, rack, session) = (ann.clone(), bob.clone(), rack.clone(), session.clone());
            async move {
                match (n, verb) {
                    (0, _) => post(&bob, &format!("/racks/{rack}/claim"), &json!({})).await,
                    (_, "heartbeat") => {
                        let path = format!("/sync/heartbeat?session_id={session}&rack_id={rack}");
                        call(&ann, Method::POST, &path, None).await.expect(200)
                    }
                    _ => post(&ann, &format!("/racks/{rack}/{verb}"), &json!({"session_id": session})).await,
                }
            }
        })
        .await;
        let goes_on = match verb {
            "heartbeat" => told[1].json()["rack_renewed"] == true,
            _ => told[1].status == 200,
        };
        assert_ne!(told[0].status == 200, goes_on, "{verb}: {told:?}");
        let holder = get(&ann, &format!("/racks/{rack}/status")).await.expect(200).json()["holder"].clone();
        assert_eq!(holder["user_id"], if goes_on { "ann" } else { "bob" }, "{verb}");
    }
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rack_that_is_claimed_while_its_session_is_posted_is_let_go_too() {
    let app = TestApp::without_redis().await;
    let (ann, racks) = (counter(&app, "ann").await, [unique("R"), unique("R")]);
    let (session, _) = claimed(&ann, &racks[0]).await;
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    batch(&ann, &[record("1", &session, &sku, 4)]).await;
    let waiting = async |n: i64| {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                       AND application_name = 'holdfast' AND wait_event_type = 'Lock'";
        eventually(SOON, "they wait", async || {
            sqlx::query_scalar::<_, i64>(waits).fetch_one(&app.database.pool).await.unwrap() >= n
        })
        .await;
    };
    // The claim waits for the session, and the posting, which saw nothing of it, behind the claim.
    let mut other = app.database.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM count_sessions WHERE session_id = $1 FOR UPDATE")
        .bind(&session)
        .execute(&mut *other)
        .await
        .unwrap();
    let claim = tokio::spawn({
        let (ann, path) = (ann.clone(), format!("/racks/{}/claim", racks[1]));
        let body = json!({"session_id": session, "floor": "Ground"});
        async move { post(&ann, &path, &body).await }
    });
    waiting(1).await;
    let posted = tokio::spawn({
        let (ann, path) = (ann.clone(), format!("/sessions/{session}/post"));
        async move { post(&ann, &path, &json!({})).await }
    });
    waiting(2).await;
    other.commit().await.unwrap();
    claim.await.unwrap().expect(200);
    posted.await.unwrap().expect(200);
    for rack in &racks {
        assert_eq!(state(&ann, rack).await, "available");
    }
    app.finish().await;
}
