//! What onlookers are told: the truth about every lock and every waiter, whatever is away, at the same price however
//! much else Redis keeps.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use holdfast::locks::{LockKeys, Locks, Timing};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{SOON, lock, open_section, start, status};
use crate::support::row::{sessions_at_a_row, until_at_a_row};
use crate::support::stranger::{inventory_lock, order_lock};
use crate::support::{
    HeldRow, Load, Peer, Private, Replica, Stranger, TestApp, TestDatabase, at_once, eventually,
};

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// What holds for every status.
#[track_caller]
fn assert_adds_up(status: &Value) {
    let number = |name: &str| status[name].as_u64().unwrap();
    assert_eq!(number("total_active_locks"), number("inventory_locks") + number("custom_locks"), "{status}");
    let locks = status["locks"].as_array().unwrap();
    assert_eq!(number("total_active_locks"), locks.len() as u64);
    let now: DateTime<Utc> = status["timestamp"].as_str().unwrap().parse().unwrap();
    for lock in locks {
        let Some(left) = lock["ttl_ms"].as_u64() else {
            assert!(lock["ttl"].is_null() && lock["expires_at"].is_null(), "{lock}");
            continue;
        };
        assert_eq!(lock["ttl"], left.div_ceil(1_000), "{lock}");
        let end: DateTime<Utc> = lock["expires_at"].as_str().unwrap().parse().unwrap();
        assert_eq!((end - now).num_milliseconds() as u64, left, "{lock}");
    }
}

#[tokio::test]
async fn an_idle_service_holds_nothing_and_says_so_field_by_field() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let reply = app.client.get("/locks/status").await.expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let told = reply.json();
    assert_eq!(
        told,
        json!({
            "lock_service_available": true, "lock_mode": "two_layer",
            "breaker": {"state": "closed", "failures": 0, "opened_at": null, "history": []},
            "timestamp": told["timestamp"],
            "total_active_locks": 0, "inventory_locks": 0, "custom_locks": 0, "waiters": 0, "locks": [],
            "database_available": true, "database_waits": [],
        })
    );
    app.finish().await;
}

#[tokio::test]
async fn a_section_that_runs_is_shown_without_its_token_and_is_gone_when_it_ends() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let (row, sale) = open_section(&app, variant).await;

    let reply = app.client.get("/locks/status").await.expect(200);
    let told = reply.json();
    assert_adds_up(&told);
    let held = lock(&told, &key).expect("the lock is listed");
    assert_eq!(
        names(held),
        ["class", "expires_at", "key", "owner", "replica", "ttl", "ttl_ms", "type", "waiters"]
    );
    assert_eq!((&held["type"], &held["class"]), (&json!("inventory_lock"), &json!("inventory")));
    assert_eq!((&told["inventory_locks"], &told["custom_locks"]), (&json!(1), &json!(0)));
    assert!((1..=30_000).contains(&held["ttl_ms"].as_u64().unwrap()), "{held}");
    assert_eq!((&held["waiters"], &told["waiters"]), (&json!(0), &json!(0)));

    let token = stranger.holder(&key).await.unwrap();
    assert_eq!(held["replica"], token[..8]);
    let owner = held["owner"].as_str().unwrap();
    assert!(owner.len() == 16 && owner.bytes().all(|byte| byte.is_ascii_hexdigit()), "{owner}");
    let whole = String::from_utf8(reply.bytes.to_vec()).unwrap();
    // Not even so much of it that the rest could be guessed.
    assert!(!token.contains(owner) && !whole.contains(&token[32..64]), "{whole}");
    assert_eq!(
        lock(&status(&app.client).await, &key).unwrap()["owner"],
        owner,
        "a second look sees the same"
    );

    row.let_go().await;
    sale.await.unwrap().expect(200);
    let told = status(&app.client).await;
    assert_eq!((&told["total_active_locks"], &told["locks"]), (&json!(0), &json!([])));
    app.finish().await;
}

#[tokio::test]
async fn the_lock_of_an_order_counts_as_custom_beside_those_of_its_variants() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let (one, two) = (app.client.variant(10).await, app.client.variant(10).await);
    let row = HeldRow::of(&app.database, one).await;
    let client = app.client.clone();
    // All that a user's id and a key may consist of.
    let (user, key) = (r#"a%2F{b}"'\/<u>"#, r#""k}{%00;--"#);
    let order = tokio::spawn(async move { client.order(user, key, &[(one, 1), (two, 1)]).await });
    until_at_a_row(&app.database.pool, 1).await;

    let told = status(&app.client).await;
    assert_adds_up(&told);
    assert_eq!((&told["inventory_locks"], &told["custom_locks"]), (&json!(2), &json!(1)), "{told}");
    let of_order = lock(&told, &order_lock(user, key)).expect("its name is told as it is");
    assert_eq!((&of_order["type"], &of_order["class"]), (&json!("custom_lock"), &json!("order")));
    assert!((30_000..=60_000).contains(&of_order["ttl_ms"].as_u64().unwrap()), "{of_order}");
    for variant in [one, two] {
        assert_eq!(lock(&told, &inventory_lock(variant)).unwrap()["owner"], of_order["owner"]);
    }
    row.let_go().await;
    order.await.unwrap().expect(201);
    app.finish().await;
}

#[tokio::test]
async fn a_strangers_lock_that_a_request_waits_for_is_shown_with_its_waiter() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    for (ttl, shown) in [(&["PX", "60000"][..], true), (&[], false), (&["PX", "9000000000000000000"], true)] {
        let _set: String = stranger.ask(&[&["SET", &key, "a stranger's secret"], ttl].concat()).await;
        let client = app.client.clone();
        let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
        eventually(SOON, "it stands in line", async || stranger.line(&key).await.len() == 1).await;
        let reply = app.client.get("/locks/status").await.expect(200);
        let told = reply.json();
        let seen = lock(&told, &key).unwrap_or_else(|| panic!("not listed: {told}"));
        assert_eq!(
            (&seen["replica"], &seen["waiters"], &told["waiters"]),
            (&json!("stranger"), &json!(1), &json!(1))
        );
        assert_eq!(seen["ttl_ms"].is_u64(), shown, "{seen}");
        assert!(!String::from_utf8_lossy(&reply.bytes).contains("secret"));
        stranger.delete(&key).await;
        sale.await.unwrap().expect(200);
    }
    app.finish().await;
}

#[tokio::test]
async fn waiters_of_all_replicas_add_up_whichever_is_asked() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let variant = app.client.variant(100).await;
    let key = inventory_lock(variant);
    let (row, sale) = open_section(&app, variant).await;
    let mut sales = vec![sale];
    for client in [&app.client, &app.client, &app.client, &peer.client, &peer.client] {
        let client = client.clone();
        sales.push(tokio::spawn(async move { client.decrement(variant, 1).await }));
    }
    for client in [&app.client, &peer.client] {
        eventually(SOON, "all five who wait are counted", async || {
            let told = status(client).await;
            assert_adds_up(&told);
            lock(&told, &key).is_some_and(|held| held["waiters"] == 5) && told["waiters"] == 5
        })
        .await;
    }
    row.let_go().await;
    for sale in sales {
        sale.await.unwrap().expect(200);
    }
    for client in [&app.client, &peer.client] {
        eventually(SOON, "nobody waits any more", async || {
            let told = status(client).await;
            told["waiters"] == 0 && told["total_active_locks"] == 0
        })
        .await;
    }
    peer.finish().await;
    app.finish().await;
}

/// How often each command was run by `looks` looks.
async fn commands_of(locks: &Locks, stranger: &Stranger, looks: u64) -> BTreeMap<String, u64> {
    let _reset: String = stranger.ask(&["CONFIG", "RESETSTAT"]).await;
    for _ in 0..looks {
        assert!(locks.status().await.lock_service_available);
    }
    let info: String = stranger.ask(&["INFO", "commandstats"]).await;
    let calls = info.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls: u64 = rest.split(',').next()?.parse().ok()?;
        Some((name.to_owned(), calls / looks)).filter(|_| !name.starts_with("config") && name != "info")
    });
    calls.collect()
}

#[tokio::test]
async fn a_look_costs_what_live_locks_cost_and_nothing_for_what_else_redis_keeps() {
    let redis = Private::redis().await;
    let stranger = Stranger::at(&redis.url()).await;
    // No keeper runs, so that whatever Redis is asked, a look asks.
    let locks = Locks::two_layer(&redis.url(), Timing::default(), TaskTracker::new()).unwrap();
    let gone = CancellationToken::new();
    let take = async |n: usize| {
        let keys = LockKeys::variants((0..n).map(|_| Uuid::new_v4())).unwrap();
        locks.acquire(keys, &gone).await.unwrap()
    };
    let three = take(3).await;
    locks.status().await;
    let few = commands_of(&locks, &stranger, 10).await;
    let fill =
        "for i = 1, 10000 do redis.call('SET', 'inventory_lock_log:' .. ARGV[1] .. i, 'x') end return 1";
    for part in 0..20 {
        let _filled: i64 = stranger.ask(&["EVAL", fill, "0", &format!("{part}:")]).await;
    }
    assert!(stranger.ask::<u64>(&["DBSIZE"]).await > 200_000);
    assert_eq!(commands_of(&locks, &stranger, 10).await, few);
    assert!(few.keys().all(|name| !["keys", "scan"].contains(&name.as_str())), "{few:?}");
    assert_eq!(few["get"], 3, "{few:?}");

    let forty = take(40).await;
    let more = commands_of(&locks, &stranger, 10).await;
    assert_eq!((more["get"], more["pttl"]), (43, 43));
    let rest = |stats: &BTreeMap<String, u64>| {
        let mut stats = stats.clone();
        stats.retain(|name, _| !["get", "pttl", "hvals"].contains(&name.as_str()));
        stats
    };
    assert_eq!(rest(&more), rest(&few), "one script for all of them");
    forty.release().await;
    three.release().await;
    assert_eq!(locks.status().await.total_active_locks, 0);
}

#[tokio::test]
async fn with_redis_killed_it_tells_since_when_and_what_this_process_holds() {
    let mut redis = Private::redis().await;
    let app = start(&redis).await;
    let variant = app.client.variant(100).await;
    let (row, sale) = open_section(&app, variant).await;
    let client = app.client.clone();
    let next = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "the next waits", async || app.app.locks.in_line(variant) == 2).await;
    redis.kill().await.unwrap();

    // At once, before anybody knows what became of Redis.
    let told = status(&app.client).await;
    assert_eq!(told["lock_service_available"], json!(false));
    eventually(SOON, "the breaker opens", async || status(&app.client).await["breaker"]["state"] != "closed")
        .await;
    let told = status(&app.client).await;
    assert_adds_up(&told);
    assert_eq!(
        (&told["lock_service_available"], &told["lock_mode"], &told["database_available"]),
        (&json!(false), &json!("database_only"), &json!(true))
    );
    let breaker = &told["breaker"];
    assert_eq!(names(breaker), ["failures", "history", "opened_at", "state"]);
    assert!(breaker["failures"].as_u64().unwrap() >= 1, "{breaker}");
    let opened: DateTime<Utc> = breaker["opened_at"].as_str().unwrap().parse().unwrap();
    let looked: DateTime<Utc> = told["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((0..15).contains(&(looked - opened).num_seconds()), "{breaker}");
    let change = &breaker["history"][0];
    assert_eq!((names(change), &change["mode"]), (vec!["at", "mode", "why"], &json!("database_only")));
    assert_eq!(change["at"], breaker["opened_at"]);
    let held = lock(&told, &inventory_lock(variant)).expect("what this process holds is known");
    assert_eq!(
        held,
        &json!({"key": inventory_lock(variant), "type": "inventory_lock", "class": "inventory", "owner": null,
                "replica": "here", "ttl": null, "ttl_ms": null, "expires_at": null, "waiters": 1})
    );
    assert_eq!(told["waiters"], 1);
    assert_eq!(told["database_waits"].as_array().unwrap().len(), 1);

    row.let_go().await;
    sale.await.unwrap().expect(200);
    next.await.unwrap().expect(200);
    redis.restart().await.unwrap();
    eventually(SOON, "Redis is used again", async || {
        let told = status(&app.client).await;
        told["lock_service_available"] == true
            && told["breaker"]["state"] == "closed"
            && told["breaker"]["opened_at"].is_null()
            && told["breaker"]["history"].as_array().unwrap().len() == 2
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn without_redis_by_choice_it_is_answered_too() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(10).await;
    let (row, sale) = open_section(&app, variant).await;
    let told = status(&app.client).await;
    assert_adds_up(&told);
    assert_eq!(
        (&told["lock_service_available"], &told["lock_mode"], &told["breaker"]["state"]),
        (&json!(false), &json!("database_only"), &json!("open"))
    );
    assert_eq!((&told["breaker"]["opened_at"], &told["inventory_locks"]), (&Value::Null, &json!(1)));
    row.let_go().await;
    sale.await.unwrap().expect(200);
    assert_eq!(status(&app.client).await["total_active_locks"], 0);
    app.finish().await;
}

#[tokio::test]
async fn who_waits_for_whom_in_postgres_is_told_although_every_connection_is_busy() {
    let redis = Private::redis().await;
    let settings = [("HOLDFAST_DB_MAX_CONNECTIONS", "2")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &settings).await;
    let (one, two, three) =
        (app.client.variant(9).await, app.client.variant(9).await, app.client.variant(9).await);
    let (first, second) = (HeldRow::of(&app.database, one).await, HeldRow::of(&app.database, two).await);
    let sell = |variant| {
        let client = app.client.clone();
        tokio::spawn(async move { client.decrement(variant, 1).await })
    };
    let sales = [sell(one), sell(two)];
    until_at_a_row(&app.database.pool, 2).await;
    assert_eq!(sell(three).await.unwrap().expect(503).code(), "overloaded");

    let looked = Instant::now();
    let told = status(&app.client).await;
    assert!(looked.elapsed().as_secs() < 2, "it waits for no connection: {:?}", looked.elapsed());
    assert_eq!(told["database_available"], true);
    let waits = told["database_waits"].as_array().unwrap();
    let mut waiting: Vec<_> = waits.iter().map(|wait| wait["pid"].as_i64().unwrap()).collect();
    waiting.sort_unstable();
    let mut at_a_row: Vec<_> =
        sessions_at_a_row(&app.database.pool).await.into_iter().map(i64::from).collect();
    at_a_row.sort_unstable();
    assert_eq!(waiting, at_a_row);
    for wait in waits {
        assert_eq!(names(wait), ["blocked_by", "pid", "query", "seconds", "waiting_for"]);
        assert_eq!(wait["blocked_by"].as_array().unwrap().len(), 1, "{wait}");
        assert!(wait["query"].as_str().unwrap().contains("FOR UPDATE"), "{wait}");
        assert_eq!(wait["waiting_for"], "transactionid");
        // Both waited while the third was refused.
        assert!((1.5..15.0).contains(&wait["seconds"].as_f64().unwrap()), "{wait}");
    }
    first.let_go().await;
    second.let_go().await;
    for sale in sales {
        sale.await.unwrap().expect(200);
    }
    assert_eq!(status(&app.client).await["database_waits"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn with_postgres_away_the_locks_are_told_all_the_same() {
    let redis = Private::redis().await;
    let mut postgres = Private::postgres().await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, Some(&redis.url()), &[]).await;
    app.client.get("/locks/status").await.expect(200);
    postgres.stop().await.unwrap();
    for _ in 0..3 {
        let told = status(&app.client).await;
        assert_eq!((&told["database_available"], &told["database_waits"]), (&json!(false), &json!([])));
        assert_eq!(told["lock_service_available"], true);
    }
    postgres.restart().await.unwrap();
    eventually(SOON, "it is seen again", async || status(&app.client).await["database_available"] == true)
        .await;
    app.finish().await;
}

#[tokio::test]
async fn with_postgres_hung_it_is_answered_within_bounds() {
    let redis = Private::redis().await;
    let mut postgres = Private::postgres().await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, Some(&redis.url()), &[]).await;
    app.client.get("/locks/status").await.expect(200);
    postgres.pause();
    for _ in 0..3 {
        let looked = Instant::now();
        assert_eq!(status(&app.client).await["database_available"], false);
        assert!(looked.elapsed().as_secs() < 4, "{:?}", looked.elapsed());
    }
    postgres.resume();
    eventually(SOON, "it is seen again", async || status(&app.client).await["database_available"] == true)
        .await;
    app.finish().await;
}

#[tokio::test]
async fn after_redis_was_emptied_only_locks_that_are_taken_since_are_told() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let (row, sale) = open_section(&app, variant).await;
    let lost = lock(&status(&app.client).await, &key).unwrap()["owner"].clone();
    let _gone: String = stranger.ask(&["FLUSHALL"]).await;
    assert_eq!(status(&app.client).await["total_active_locks"], 0, "Redis holds no lock now");

    let client = peer.client.clone();
    let next = tokio::spawn(async move { client.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 2).await;
    let told = status(&app.client).await;
    assert_adds_up(&told);
    let held = lock(&told, &key).expect("the one who took it since");
    assert!(held["owner"] != lost && told["total_active_locks"] == 1, "{told}");
    assert_eq!(told["database_waits"].as_array().unwrap().len(), 2, "where both sections stand");
    row.let_go().await;
    sale.await.unwrap().expect(200);
    next.await.unwrap().expect(200);
    assert_eq!(status(&app.client).await["total_active_locks"], 0);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn what_a_killed_replica_held_is_told_until_it_is_taken_over_and_its_waiters_are_forgotten() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let row = HeldRow::of(&app.database, variant).await;
    let replica = Replica::start(&app.database.url, Some(&redis.url()), &[]).await;
    let crowd: Vec<_> = (0..3)
        .map(|_| {
            let client = replica.client.clone();
            let (path, body) = (format!("/inventory/{variant}/decrement"), json!({"quantity": 1}));
            tokio::spawn(async move { client.try_post(&path, &body, None).await })
        })
        .collect();
    eventually(SOON, "two wait for the third", async || {
        lock(&status(&app.client).await, &key).is_some_and(|held| held["waiters"] == 2)
    })
    .await;
    let owner = lock(&status(&app.client).await, &key).unwrap()["owner"].clone();
    replica.kill().await;
    for dead in crowd {
        assert!(dead.await.unwrap().is_err());
    }
    eventually(SOON, "nobody waits", async || status(&app.client).await["waiters"] == 0).await;
    let told = status(&app.client).await;
    assert_eq!(lock(&told, &key).expect("nobody released it")["owner"], owner);

    row.let_go().await;
    app.client.decrement(variant, 1).await.expect(200);
    let told = status(&app.client).await;
    assert_eq!((&told["total_active_locks"], &told["waiters"]), (&json!(0), &json!(0)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_who_look_on_again_and_again_are_all_answered_and_disturb_nobody() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let load = Load::start(&[&app.client, &peer.client], 3, 8).await;
    let looks = at_once(50, |_| {
        let client = app.client.clone();
        async move {
            let mut slowest = std::time::Duration::ZERO;
            for _ in 0..6 {
                let looked = Instant::now();
                let told = status(&client).await;
                slowest = slowest.max(looked.elapsed());
                assert_eq!(told["lock_service_available"], true, "{told}");
                assert_eq!(told["database_available"], true, "{told}");
            }
            slowest
        }
    })
    .await;
    let slowest = looks.into_iter().max().unwrap();
    assert!(slowest < SOON, "a look took {slowest:?}");
    load.acknowledged(50).await;
    let (acknowledged, unknown) = load.settle(&app.client).await;
    assert!(acknowledged >= 50 && unknown == 0, "{acknowledged} acknowledged, {unknown} unknown");
    let told = status(&app.client).await;
    assert_eq!(told["breaker"]["history"], json!([]), "nobody took Redis for away");
    assert_eq!(told["total_active_locks"], 0);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn looking_takes_no_parameters_and_no_other_method() {
    let app = TestApp::without_redis().await;
    let reply = app.client.send(Method::POST, "/api/v1/locks/status", &[], "").await.unwrap();
    assert_eq!(reply.expect(405).code(), "method_not_allowed");
    app.finish().await;
}
