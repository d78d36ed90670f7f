//! Requests over different items share a section too, when all that work at once are busy. Then nobody may be held up by
//! what a stranger does with an item of somebody else's.

use holdfast::section::share::at_once;
use serde_json::json;
use uuid::Uuid;

use super::SOON;
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{
    Client, HeldRow, Peer, Reply, Scrape, Stranger, TestApp, TestDatabase, eventually, shared_redis,
};

const MANY: usize = 12;
/// How many requests one section takes.
const ROOM: usize = 256;
/// However long it takes until all have arrived.
const PATIENT: &[(&str, &str)] = &[("HOLDFAST_LOCK_WAIT_MS", "14000")];

#[tokio::test]
async fn an_item_that_another_program_holds_holds_up_nobody_who_does_not_want_it() {
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), PATIENT).await;
    let redis = Stranger::at(&shared_redis()).await;
    let mut variants = Vec::new();
    for _ in 0..at_once() + 10 {
        variants.push(app.client.variant(10).await);
    }
    // While the table is locked, as many sections stand still as work at once, and the rest share the next.
    let mut table = app.database.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE").execute(&mut *table).await.unwrap();
    let mut sales = Vec::new();
    for (arrived, variant) in (1..).zip(&variants) {
        let (client, variant) = (app.client.clone(), *variant);
        sales.push((variant, tokio::spawn(async move { client.decrement(variant, 1).await })));
        eventually(SOON, "it has arrived", async || app.app.locks.in_line(variant) == 1).await;
        until_at_a_row(&app.database.pool, at_once().min(arrived)).await;
    }
    let busy = variants[at_once() + 7];
    let key = inventory_lock(busy);
    assert!(redis.take(&key, "another program").await);
    table.rollback().await.unwrap();
    let mut last = None;
    for (variant, sale) in sales {
        if variant == busy {
            last = Some(sale);
        } else {
            sale.await.unwrap().expect(200);
        }
    }
    assert_eq!(redis.line(&key).await.len(), 1, "it alone still waits");
    redis.delete(&key).await;
    last.unwrap().await.unwrap().expect(200);
    for variant in variants {
        assert_eq!(app.client.on_hand(variant).await, 9);
    }
    // Those at the table, the rest in one, and the one that waited.
    let commits = "SELECT count(DISTINCT xmin::text) FROM stock_movements WHERE version = 2";
    let commits: i64 = sqlx::query_scalar(commits).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(commits, at_once() as i64 + 2);
    app.finish().await;
}

#[tokio::test]
async fn those_for_whom_a_section_has_no_room_share_the_one_after_it() {
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), PATIENT).await;
    let many = at_once() + ROOM + ROOM / 4;
    let mut variants = Vec::new();
    for _ in 0..many {
        variants.push(app.client.variant(10).await);
    }
    let mut table = app.database.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE").execute(&mut *table).await.unwrap();
    let mut sales = Vec::new();
    let sell = |variant: Uuid| {
        let client = app.client.clone();
        tokio::spawn(async move { client.decrement(variant, 1).await })
    };
    let (first, others) = variants.split_at(at_once());
    for (arrived, variant) in (1..).zip(first) {
        sales.push(sell(*variant));
        until_at_a_row(&app.database.pool, arrived).await;
    }
    // All at once: the table is waited for only so long.
    sales.extend(others.iter().map(|variant| sell(*variant)));
    let all_are_in_line = async || others.iter().all(|variant| app.app.locks.in_line(*variant) == 1);
    eventually(SOON, "all have arrived", all_are_in_line).await;
    table.rollback().await.unwrap();
    for sale in sales {
        sale.await.unwrap().expect(200);
    }
    let commits = "SELECT count(DISTINCT xmin::text) FROM stock_movements WHERE version = 2";
    let commits: i64 = sqlx::query_scalar(commits).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(commits, at_once() as i64 + 2, "those at the table, as many as one takes, and the rest");
    app.finish().await;
}

#[tokio::test]
async fn those_who_stand_behind_several_sections_share_the_one_that_follows_them() {
    const AGAIN: usize = 20;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), PATIENT).await;
    let mut variants = Vec::new();
    for _ in 0..at_once() + 2 * ROOM {
        variants.push(app.client.variant(10).await);
    }
    let mut table = app.database.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE").execute(&mut *table).await.unwrap();
    let mut sales = Vec::new();
    let sell = |variant: Uuid| {
        let client = app.client.clone();
        tokio::spawn(async move { client.decrement(variant, 1).await })
    };
    let (first, others) = variants.split_at(at_once());
    for (arrived, variant) in (1..).zip(first) {
        sales.push(sell(*variant));
        until_at_a_row(&app.database.pool, arrived).await;
    }
    sales.extend(others.iter().map(|variant| sell(*variant)));
    let in_line = async |which: &[Uuid], number| which.iter().all(|id| app.app.locks.in_line(*id) == number);
    eventually(SOON, "two sections are full", async || in_line(others, 1).await).await;
    // Each of these is in one of the three sections that nobody can join any more.
    let again: Vec<_> = variants.iter().copied().step_by(variants.len() / AGAIN).collect();
    sales.extend(again.iter().map(|variant| sell(*variant)));
    eventually(SOON, "all stand behind them", async || in_line(&again, 2).await).await;
    table.rollback().await.unwrap();
    for sale in sales {
        sale.await.unwrap().expect(200);
    }
    let commits = "SELECT count(DISTINCT xmin::text) FROM stock_movements WHERE version > 1";
    let commits: i64 = sqlx::query_scalar(commits).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(commits, at_once() as i64 + 3, "those at the table, the two full ones, and the rest in one");
    app.finish().await;
}

#[tokio::test]
async fn whoever_stands_behind_one_who_waits_for_a_stranger_holds_up_nobody_else() {
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), PATIENT).await;
    let redis = Stranger::at(&shared_redis()).await;
    let (held, free) = (app.client.variant(10).await, app.client.variant(10).await);
    let key = inventory_lock(held);
    assert!(redis.take(&key, "another program").await);
    let client = app.client.clone();
    let waits = tokio::spawn(async move { client.decrement(held, 1).await });
    eventually(SOON, "it waits for the stranger", async || redis.line(&key).await.len() == 1).await;
    let client = app.client.clone();
    let both = tokio::spawn(async move { client.order("ann", "key-1", &[(held, 1), (free, 1)]).await });
    eventually(SOON, "the order stands behind it", async || app.app.locks.in_line(held) == 2).await;
    // Though the order came first.
    app.client.decrement(free, 1).await.expect(200);
    assert_eq!(redis.holder(&key).await.as_deref(), Some("another program"));
    redis.delete(&key).await;
    waits.await.unwrap().expect(200);
    both.await.unwrap().expect(201);
    assert_eq!((app.client.on_hand(held).await, app.client.on_hand(free).await), (8, 8));
    app.finish().await;
}

#[tokio::test]
async fn a_row_that_a_stranger_holds_holds_up_nobody_who_does_not_want_it_however_many_there_are() {
    let settings = [("HOLDFAST_DB_MAX_CONNECTIONS", "32")];
    let app = TestApp::with(TestDatabase::fresh().await, None, &settings).await;
    let peer = Peer::start(&app.database.url, None, &settings).await;
    let (mut rows, mut stuck) = (Vec::new(), Vec::new());
    let sell = |client: &Client, variant: Uuid| {
        let (client, path) = (client.clone(), format!("/inventory/{variant}/decrement"));
        async move { client.post_keyed(&path, &json!({"quantity": 1}), &format!("sale-of-{variant}")).await }
    };
    for n in 1..=MANY {
        let variant = app.client.variant(10).await;
        rows.push(HeldRow::of(&app.database, variant).await);
        stuck.push((variant, tokio::spawn(sell(&app.client, variant))));
        until_at_a_row(&app.database.pool, n).await;
    }
    let free = app.client.variant(10).await;
    let at_once = |order: Reply| {
        assert!(order.expect(201).header("lock-wait-ms").unwrap().parse::<u64>().unwrap() < 1_000);
    };
    at_once(app.client.order("ann", "key-1", &[(free, 1)]).await);
    // Nor do those who repeat them at another replica, where they meet at their keys, without a lock before them: they wait
    // without a lease or a connection.
    for n in 1..=MANY {
        let variant = stuck[n - 1].0;
        stuck.push((variant, tokio::spawn(sell(&peer.client, variant))));
    }
    let left = r#"section_outcomes_total{outcome="alone"}"#;
    let have_left = async || Scrape::of(&peer.client).await.get(left) == MANY as f64;
    eventually(SOON, "they have left their sections", have_left).await;
    at_once(peer.client.order("ann", "key-2", &[(free, 1)]).await);
    for row in rows {
        row.let_go().await;
    }
    for (variant, sale) in stuck {
        sale.await.unwrap().expect(200);
        assert_eq!(app.client.on_hand(variant).await, 9);
    }
    peer.finish().await;
    app.finish().await;
}
