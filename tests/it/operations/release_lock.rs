//! A lock taken away by hand: only from the holder that was seen, on the record, and harmless to what it still writes.

use std::fmt::Write;

use serde_json::{Value, json};
use sqlx::Row;

use super::{SOON, lock, open_section, start, status};
use crate::support::row::until_at_a_row;
use crate::support::stranger::{inventory_lock, line_of, order_lock};
use crate::support::{
    Client, HeldRow, Link, Peer, Private, Proxy, Reply, Stranger, TestApp, TestDatabase, eventually,
};

/// Longer than a request waits: whoever misses the message is refused.
const NO_POLL: &[(&str, &str)] = &[("HOLDFAST_LOCK_RETRY_MS", "10000")];

/// The path of `key`'s release, whatever the key consists of.
fn path(key: &str) -> String {
    let mut encoded = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
    }
    format!("/locks/{encoded}/release")
}

async fn release(client: &Client, key: &str) -> Reply {
    client.post(&path(key), &json!({"reason": "stuck"})).await
}

#[tokio::test]
async fn the_next_goes_on_at_once_the_victims_write_stays_right_and_the_deed_is_on_record() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), NO_POLL).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), NO_POLL).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let (row, victim) = open_section(&app, variant).await;
    let client = peer.client.clone();
    let next = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "the next stands in line", async || stranger.line(&key).await.len() == 1).await;
    let waiter = stranger.line(&key).await.remove(0);
    eventually(SOON, "its replica hears wake-ups", async || stranger.hearers_of(&waiter).await == 1).await;
    let owner = lock(&status(&app.client).await, &key).unwrap()["owner"].clone();

    let reply = app.client.post(&path(&key), &json!({"reason": "stuck since noon"})).await.expect(200);
    let told = reply.json();
    let release_id = told["release_id"].as_str().unwrap();
    assert_eq!(
        told,
        json!({"release_id": release_id, "key": key, "owner": owner, "reason": "stuck since noon"})
    );
    // Woken: its poll comes only after it would have been refused.
    until_at_a_row(&app.database.pool, 2).await;
    assert_eq!(stranger.holder(&key).await, Some(waiter.clone()));
    row.let_go().await;
    let (victim, next) = (victim.await.unwrap().expect(200), next.await.unwrap().expect(200));
    assert_eq!((&victim.json()["version"], &next.json()["version"]), (&json!(2), &json!(3)));
    assert_eq!(next.header("lock-mode"), Some("two_layer"));
    assert_eq!(app.client.on_hand(variant).await, 8);
    assert_eq!(stranger.keys("inventory_lock:*").await, [""; 0]);

    let row = sqlx::query("SELECT * FROM lock_releases").fetch_one(&app.database.pool).await.unwrap();
    let column = |name: &str| row.get::<String, _>(name);
    assert_eq!(row.get::<uuid::Uuid, _>("release_id").to_string(), release_id);
    assert_eq!(
        (column("key"), column("reason"), column("subject")),
        (key, "stuck since noon".into(), "admin".into())
    );
    assert_eq!((json!(column("owner")), column("outcome")), (owner, "released".into()));
    assert_eq!(reply.header("x-request-id"), Some(column("request_id").as_str()));
    for rewriting in
        ["UPDATE lock_releases SET reason = 'x'", "DELETE FROM lock_releases", "TRUNCATE lock_releases"]
    {
        assert!(sqlx::query(rewriting).execute(&app.database.pool).await.is_err(), "{rewriting}");
    }
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn a_reason_is_required_and_nothing_happens_without() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    assert!(stranger.take("lock:x", "a stranger").await);
    for body in [
        json!({}),
        json!({"reason": ""}),
        json!({"reason": null}),
        json!({"reason": "r".repeat(256)}),
        json!({"reason": "two\nlines"}),
        json!({"reason": "r", "force": true}),
        json!([]),
    ] {
        let reply = app.client.post(&path("lock:x"), &body).await.expect(422);
        assert_eq!(reply.code(), "validation_failed", "{body}");
    }
    assert_eq!(stranger.holder("lock:x").await.as_deref(), Some("a stranger"));
    assert_eq!(app.count("lock_releases").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn only_names_of_locks_are_touched() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let long = format!("lock:{}", "x".repeat(508));
    let others = [
        "foo",
        "holdfast:{fleet}:locks",
        "holdfast:line:{lock:x}",
        "Lock:x",
        " lock:x",
        "lock",
        "inventory_lock",
        "inventory:updates:x",
        "lock:\0x",
        "lock:a\nb",
        &long,
    ];
    for name in others {
        let _set: String = stranger.ask(&["SET", &format!("{name} "), "theirs"]).await;
        let reply = release(&app.client, name).await.expect(422);
        assert_eq!(
            (reply.code(), &reply.json()["errors"][0]["field"]),
            ("validation_failed".into(), &json!("key")),
            "{name:?}"
        );
    }
    for name in ["lock:x", "inventory_lock:", "rack:lock:x", "session:lock:x", "processing:x", &long[..512]] {
        assert_eq!(release(&app.client, name).await.expect(404).code(), "lock_not_held", "{name}");
    }
    assert_eq!(app.count("lock_releases").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn what_would_keep_everybody_waiting_for_ever_is_found_by_the_status_and_let_go() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), NO_POLL).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let mistakes: [&[&str]; 4] = [
        &["RPUSH", &key, "of another type"],
        &["HSET", &key, "of", "another type"],
        &["SET", &key, "without an end"],
        // What a key of another type is called inside.
        &["SET", &key, "not a lock"],
    ];
    for mistake in mistakes {
        let _made: redis::Value = stranger.ask(mistake).await;
        let client = app.client.clone();
        let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
        eventually(SOON, "it stands in line", async || stranger.line(&key).await.len() == 1).await;
        let waiter = stranger.line(&key).await.remove(0);
        eventually(SOON, "its replica hears wake-ups", async || stranger.hearers_of(&waiter).await == 1)
            .await;
        let told = status(&app.client).await;
        let seen = lock(&told, &key).unwrap_or_else(|| panic!("not shown: {told}"));
        assert_eq!(
            (&seen["replica"], &seen["ttl"], &seen["waiters"]),
            (&json!("stranger"), &Value::Null, &json!(1))
        );
        let told = release(&app.client, &key).await.expect(200).json();
        assert_eq!(told["owner"], seen["owner"]);
        // Woken: its poll comes only after it would have been refused.
        assert_eq!(sale.await.unwrap().expect(200).header("lock-mode"), Some("two_layer"), "{mistake:?}");
    }
    assert_eq!(app.count("lock_releases").await, 4);
    assert_eq!(release(&app.client, &key).await.expect(404).code(), "lock_not_held");
    app.finish().await;
}

#[tokio::test]
async fn a_name_with_any_characters_works_percent_encoded() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let names = [
        "lock:a/b/../c",
        "lock:100%",
        "lock:%2F",
        "lock:with spaces",
        "lock:{a}}b{",
        "lock:?q=1&r#f",
        "lock:é 🎁",
        r#"lock:"'\;"#,
        "lock:order_creation_a+b_c",
    ];
    for name in names {
        assert!(stranger.take(name, "a stranger").await);
        let told = release(&app.client, name).await.expect(200).json();
        assert_eq!((&told["key"], stranger.holder(name).await), (&json!(name), None));
    }
    // As far as a path lets them, they may stand as they are.
    assert!(stranger.take("lock:{plain}", "a stranger").await);
    app.client.post("/locks/lock:%7Bplain%7D/release", &json!({"reason": "r"})).await.expect(200);
    assert_eq!(app.count("lock_releases").await, names.len() as i64 + 1);
    app.finish().await;
}

#[tokio::test]
async fn an_order_whose_lock_was_taken_away_is_placed_once() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let variant = app.client.variant(10).await;
    let (user, key) = ("a%{}b\"/", "k/%20{");
    let row = HeldRow::of(&app.database, variant).await;
    let client = app.client.clone();
    let first = tokio::spawn(async move { client.order(user, key, &[(variant, 1)]).await });
    until_at_a_row(&app.database.pool, 1).await;
    release(&app.client, &order_lock(user, key)).await.expect(200);
    release(&app.client, &inventory_lock(variant)).await.expect(200);
    let client = peer.client.clone();
    let second = tokio::spawn(async move { client.order(user, key, &[(variant, 1)]).await });
    until_at_a_row(&app.database.pool, 2).await;
    row.let_go().await;
    let (first, second) = (first.await.unwrap().expect(201), second.await.unwrap());
    assert!(second.was_replayed() && first.bytes == second.bytes, "{second:?}");
    assert_eq!((app.client.on_hand(variant).await, app.count("orders").await), (9, 1));
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn a_repeated_release_gives_the_first_answer_and_spares_a_later_holder() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let again = async |key: &str, reason: &str| {
        app.client.post_keyed(&path(key), &json!({"reason": reason}), "key-1").await
    };
    assert_eq!(again("lock:Ann", "r").await.expect(404).code(), "lock_not_held");
    assert!(stranger.take("lock:Ann", "the first").await && stranger.take("lock:ann", "another").await);
    let first = again("lock:Ann", "r").await.expect(200);
    assert!(!first.was_replayed(), "a lock that nobody held left the key free");
    assert!(stranger.take("lock:Ann", "the second").await);
    let second = again("lock:Ann", "r").await.expect(200);
    assert!(second.was_replayed() && second.bytes == first.bytes);
    for (key, reason) in [("lock:ann", "r"), ("lock:Ann", "other")] {
        assert_eq!(again(key, reason).await.expect(422).code(), "idempotency_key_reused", "{key} {reason}");
    }
    assert_eq!(stranger.holder("lock:Ann").await.as_deref(), Some("the second"));
    assert_eq!(stranger.holder("lock:ann").await.as_deref(), Some("another"));
    assert_eq!(app.count("lock_releases").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn where_redis_gives_no_answer_the_outcome_is_called_unknown_here_on_record_and_to_a_repetition() {
    let redis = Private::redis().await;
    let way = Proxy::before_redis(&redis.url()).await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&way.redis_url()), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    assert!(stranger.take("lock:x", "the first").await);
    let owner = holdfast::locks::status::owner_hash("the first");
    // Between its look and its deletion the request writes: there it is held up.
    let mut table = app.database.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE lock_releases IN EXCLUSIVE MODE").execute(&mut *table).await.unwrap();
    let again = async || app.client.post_keyed(&path("lock:x"), &json!({"reason": "r"}), "key-1").await;
    let (first, ()) = tokio::join!(again(), async {
        until_at_a_row(&app.database.pool, 1).await;
        way.link(Link::NoAnswers);
        table.rollback().await.unwrap();
    });
    let first = first.expect(409);
    assert_eq!(first.code(), "release_unknown");
    assert!(first.json()["detail"].as_str().unwrap().contains(&owner), "whom to look for: {first:?}");
    assert_eq!(stranger.holder("lock:x").await, None, "it was released, for all that");
    let on_record =
        sqlx::query_as::<_, (String, String, String)>("SELECT key, owner, outcome FROM lock_releases");
    let on_record = on_record.fetch_all(&app.database.pool).await.unwrap();
    assert_eq!(on_record, [("lock:x".to_owned(), owner, "unknown".to_owned())]);

    way.link(Link::Sound);
    eventually(SOON, "Redis is used", async || {
        status(&app.client).await["lock_service_available"] == json!(true)
    })
    .await;
    assert!(stranger.take("lock:x", "the second").await);
    let second = again().await.expect(409);
    assert!(second.was_replayed() && second.bytes == first.bytes);
    assert_eq!(stranger.holder("lock:x").await.as_deref(), Some("the second"), "a later holder is spared");
    release(&app.client, "lock:x").await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_release_that_fails_in_the_middle_is_unknown_too() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    assert!(stranger.take("lock:x", "theirs").await);
    let (seconds, _): (u64, u64) = stranger.ask(&["TIME"]).await;
    let place = format!("{seconds}000000 {}000000", seconds + 30);
    let _new: i64 = stranger.ask(&["HSET", &line_of("lock:x"), &"n".repeat(64), &place]).await;
    // Whoever releases calls the next.
    let _denied: String = stranger.ask(&["ACL", "SETUSER", "default", "resetchannels"]).await;
    assert_eq!(release(&app.client, "lock:x").await.expect(409).code(), "release_unknown");
    assert_eq!(stranger.holder("lock:x").await, None);
    let unknown: i64 = sqlx::query_scalar("SELECT count(*) FROM lock_releases WHERE outcome = 'unknown'")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert_eq!((unknown, app.count("lock_releases").await), (1, 1));
    app.finish().await;
}

#[tokio::test]
async fn without_redis_there_is_nothing_to_release() {
    let app = TestApp::without_redis().await;
    let reply = release(&app.client, "lock:x").await.expect(503);
    assert_eq!(reply.code(), "lock_service_unavailable");
    assert!(reply.header("retry-after").is_some());
    app.finish().await;

    let mut redis = Private::redis().await;
    let app = start(&redis).await;
    redis.kill().await.unwrap();
    assert_eq!(release(&app.client, "lock:x").await.expect(503).code(), "lock_service_unavailable");
    assert_eq!(app.count("lock_releases").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_race_with_the_ends_of_sections_hit_one_of_them_or_nothing() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let variant = app.client.variant(1_000).await;
    let key = inventory_lock(variant);
    let sellers: Vec<_> = (0..6)
        .map(|n| {
            let client = if n % 2 == 0 { app.client.clone() } else { peer.client.clone() };
            tokio::spawn(async move {
                for _ in 0..25 {
                    client.decrement(variant, 1).await.expect(200);
                }
            })
        })
        .collect();
    let (mut hit, mut missed) = (0, 0);
    while sellers.iter().any(|seller| !seller.is_finished()) {
        match release(&app.client, &key).await.status.as_u16() {
            200 => hit += 1,
            404 => missed += 1,
            status => panic!("{status}"),
        }
    }
    for seller in sellers {
        seller.await.unwrap();
    }
    assert!(hit > 0, "{missed} missed");
    assert_eq!(app.count("lock_releases").await, hit);
    assert_eq!(app.client.on_hand(variant).await, 1_000 - 150);
    let told: Value = status(&app.client).await;
    assert_eq!(told["total_active_locks"], 0, "{told}");
    peer.finish().await;
    app.finish().await;
}
