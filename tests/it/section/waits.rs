//! How long a section waits for others: for a row no longer than its requests may wait, for a key that another replica has in
//! hand a moment only; and who is told when it comes that it would wait too long.

use serde_json::json;
use sqlx::Executor;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::SOON;
use super::shared::transactions;
use crate::support::row::until_at_a_row;
use crate::support::{Client, HeldRow, Peer, Reply, Scrape, TestApp, TestDatabase, eventually};

/// Has it written down how long a transaction waits for a row when it writes.
const NOTE: &str = "
    CREATE TABLE noted (lock_timeout interval NOT NULL);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO noted VALUES (current_setting('lock_timeout')::interval); RETURN NULL; END $$;
    CREATE TRIGGER noted AFTER INSERT ON stock_movements EXECUTE FUNCTION note();
    CREATE TRIGGER noted AFTER INSERT ON holds EXECUTE FUNCTION note();";
const NOTED: &str = "WITH noted AS (DELETE FROM noted RETURNING lock_timeout)
    SELECT (extract(epoch FROM max(lock_timeout)) * 1000)::bigint FROM noted";

fn sell(client: &Client, variant: Uuid, key: &str) -> impl Future<Output = Reply> + Send + use<> {
    let (client, key) = (client.clone(), key.to_owned());
    async move {
        let path = format!("/inventory/{variant}/decrement");
        client.post_keyed(&path, &json!({"quantity": 1}), &key).await
    }
}

async fn leases_let_go(app: &TestApp) -> f64 {
    let count = r#"lock_hold_seconds_count{class="inventory",mode="database_only"}"#;
    Scrape::of(&app.client).await.get(count)
}

#[tokio::test]
async fn a_row_is_waited_for_as_long_as_its_requests_may_wait_and_a_key_shortens_nothing() {
    let settings = [("HOLDFAST_LOCK_WAIT_MS", "4500")];
    let app = TestApp::with(TestDatabase::fresh().await, None, &settings).await;
    let variant = app.client.variant(10).await;
    app.database.pool.execute(NOTE).await.unwrap();
    let noted = async || sqlx::query_scalar::<_, i64>(NOTED).fetch_one(&app.database.pool).await.unwrap();
    sell(&app.client, variant, "free").await.expect(200);
    assert_eq!(noted().await, 5_000, "as its session waits");

    for is_order in [false, true] {
        let (row, client) = (HeldRow::of(&app.database, variant).await, app.client.clone());
        let shared = tokio::spawn(async move {
            if is_order {
                client.order("ann", "shared", &[(variant, 1)]).await.expect(201)
            } else {
                sell(&client, variant, "shared").await.expect(200)
            }
        });
        until_at_a_row(&app.database.pool, 1).await;
        row.let_go().await;
        shared.await.unwrap();
        let limit = noted().await;
        assert!((1..=4_500).contains(&limit), "{limit} ms, of an order: {is_order}");
    }

    let hold = json!({"user_id": "ann", "lines": [{"variant_id": variant, "quantity": 1}]});
    app.client.post_keyed("/holds", &hold, "alone").await.expect(201);
    let limit = noted().await;
    assert!((1..=4_500).contains(&limit), "{limit} ms for one that runs alone");
    app.finish().await;
}

#[tokio::test]
async fn whoever_came_late_to_a_section_that_waits_for_a_row_in_vain_waits_on_for_its_own_time() {
    let app = TestApp::with(TestDatabase::fresh().await, None, &[("HOLDFAST_LOCK_WAIT_MS", "4000")]).await;
    let variant = app.client.variant(10).await;
    let row = HeldRow::of(&app.database, variant).await;
    let later = async || sqlx::query("SELECT pg_sleep(1.2)").execute(&app.database.pool).await.unwrap();
    let alone = tokio::spawn(sell(&app.client, variant, "alone"));
    until_at_a_row(&app.database.pool, 1).await;
    let mut shared = Vec::new();
    for keys in [&["first"][..], &["second", "third"]] {
        later().await;
        for key in keys {
            shared.push(tokio::spawn(sell(&app.client, variant, key)));
            let all = 1 + shared.len();
            eventually(SOON, "it is in line", async || app.app.locks.in_line(variant) == all).await;
        }
    }
    let [first, second, third] = shared.try_into().unwrap();
    assert_eq!(alone.await.unwrap().expect(429).code(), "lock_timeout");
    assert_eq!(first.await.unwrap().expect(429).code(), "lock_timeout");
    row.let_go().await;
    second.await.unwrap().expect(200);
    third.await.unwrap().expect(200);
    assert_eq!(app.client.on_hand(variant).await, 8);
    app.finish().await;
}

#[tokio::test]
async fn a_row_that_one_of_a_section_does_not_need_is_not_waited_for_though_that_one_has_its_answer() {
    let patient = [("HOLDFAST_LOCK_WAIT_MS", "14000")];
    let app = TestApp::with(TestDatabase::fresh().await, None, &patient).await;
    let (hot, held) = (app.client.variant(10).await, app.client.variant(10).await);
    let order = |key: &'static str, lines: &[(Uuid, i64)]| {
        let (client, lines) = (app.client.clone(), lines.to_vec());
        tokio::spawn(async move { client.order("ann", key, &lines).await })
    };
    order("known", &[(hot, 1)]).await.unwrap().expect(201);
    let [hot_row, held_row] = [HeldRow::of(&app.database, hot).await, HeldRow::of(&app.database, held).await];
    let first = order("first", &[(hot, 1)]);
    until_at_a_row(&app.database.pool, 1).await;
    let in_line = async |number| app.app.locks.in_line(hot) == number;
    let known = order("known", &[(hot, 1)]);
    eventually(SOON, "the repetition is in line", async || in_line(2).await).await;
    let both = order("both", &[(hot, 1), (held, 1)]);
    eventually(SOON, "the other shares its section", async || in_line(3).await).await;
    hot_row.let_go().await;
    first.await.unwrap().expect(201);
    assert!(known.await.unwrap().expect(201).was_replayed());
    let alone = r#"section_outcomes_total{outcome="alone"}"#;
    let one_is_alone = async || Scrape::of(&app.client).await.get(alone) == 1.0;
    eventually(SOON, "the other alone waits for the row", one_is_alone).await;
    assert!(!both.is_finished());
    held_row.let_go().await;
    both.await.unwrap().expect(201);
    assert_eq!((app.client.on_hand(hot).await, app.client.on_hand(held).await), (7, 9));
    app.finish().await;
}

#[tokio::test]
async fn whoever_joins_one_who_stands_behind_a_row_s_wait_and_does_not_need_the_row_goes_on() {
    // So that it looks once more, and not before the others have come.
    let app = TestApp::with(TestDatabase::fresh().await, None, &[("HOLDFAST_LOCK_RETRY_MS", "2000")]).await;
    let (held, free) = (app.client.variant(10).await, app.client.variant(10).await);
    let row = HeldRow::of(&app.database, held).await;
    let waits = tokio::spawn(sell(&app.client, held, "at-the-row"));
    until_at_a_row(&app.database.pool, 1).await;
    let client = app.client.clone();
    let both = tokio::spawn(async move { client.order("ann", "both", &[(held, 1), (free, 1)]).await });
    eventually(SOON, "the order stands behind it", async || app.app.locks.in_line(held) == 2).await;
    // Though the order came first.
    sell(&app.client, free, "another-item").await.expect(200);
    assert!(!waits.is_finished() && !both.is_finished());
    row.let_go().await;
    waits.await.unwrap().expect(200);
    both.await.unwrap().expect(201);
    assert_eq!((app.client.on_hand(held).await, app.client.on_hand(free).await), (8, 8));
    app.finish().await;
}

#[tokio::test]
async fn a_key_that_is_in_hand_elsewhere_keeps_its_own_request_and_no_other_from_its_section() {
    let app = TestApp::with(TestDatabase::fresh().await, None, &[]).await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    let (hot, other) = (app.client.variant(10).await, app.client.variant(10).await);
    let [hot_row, other_row] =
        [HeldRow::of(&app.database, hot).await, HeldRow::of(&app.database, other).await];
    // The other replica has one of the keys in hand, for something else.
    let elsewhere = tokio::spawn(sell(&peer.client, other, "key-2"));
    until_at_a_row(&app.database.pool, 1).await;
    let first = tokio::spawn(sell(&app.client, hot, "key-0"));
    until_at_a_row(&app.database.pool, 2).await;
    let mut sales = Vec::new();
    for n in 1..=5 {
        sales.push(tokio::spawn(sell(&app.client, hot, &format!("key-{n}"))));
        eventually(SOON, "it has arrived", async || app.app.locks.in_line(hot) == 1 + n).await;
    }
    hot_row.let_go().await;
    first.await.unwrap().expect(200);
    let in_use = sales.remove(1);
    for sale in sales {
        sale.await.unwrap().expect(200);
    }
    assert_eq!(transactions(&app, hot, 3).await, 1, "one commit for all the others");
    // Nor does it keep the item while it waits, nor does a batch wait for it.
    let free = async || app.app.locks.in_line(hot) == 0;
    eventually(SOON, "it waits without the item", free).await;
    let operation = json!({"op": "decrement", "variant_id": hot, "quantity": 1, "key": "key-2"});
    let batch =
        app.client.post("/inventory/batch", &json!({"mode": "atomic", "operations": [operation]})).await;
    assert_eq!(batch.expect(409).code(), "idempotency_in_flight");
    assert!(!in_use.is_finished());
    other_row.let_go().await;
    elsewhere.await.unwrap().expect(200);
    assert_eq!(in_use.await.unwrap().expect(422).code(), "idempotency_key_reused");
    assert_eq!((app.client.on_hand(hot).await, app.client.on_hand(other).await), (5, 9));
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn a_key_that_is_in_hand_elsewhere_is_not_waited_for_under_a_lease() {
    let app = TestApp::with(TestDatabase::fresh().await, None, &[]).await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    let (hot, other) = (app.client.variant(10).await, app.client.variant(10).await);
    let hold = |client: &Client, variant| {
        let body = json!({"user_id": "ann", "lines": [{"variant_id": variant, "quantity": 1}]});
        let client = client.clone();
        tokio::spawn(async move { client.post_keyed("/holds", &body, "the-same").await })
    };
    let row = HeldRow::of(&app.database, other).await;
    let first = hold(&peer.client, other);
    until_at_a_row(&app.database.pool, 1).await;
    let before = leases_let_go(&app).await;
    let (again, misused) = (hold(&app.client, other), hold(&app.client, hot));
    let have_let_go = async || leases_let_go(&app).await == before + 2.0;
    eventually(SOON, "both have found the key in hand, and let go", have_let_go).await;
    sell(&app.client, hot, "a-sale").await.expect(200);
    assert!(!again.is_finished() && !misused.is_finished());
    row.let_go().await;
    let first = first.await.unwrap().expect(201);
    let again = again.await.unwrap().expect(201);
    assert!(again.was_replayed() && again.bytes == first.bytes);
    assert_eq!(misused.await.unwrap().expect(422).code(), "idempotency_key_reused");
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn who_runs_alone_is_told_at_once_too_if_those_before_it_will_take_too_long() {
    /// Of whom more than enough are served for the pace to be known, and how many come then.
    const FIRST: usize = 40;
    const MORE: usize = 200;
    let app = TestApp::with(TestDatabase::fresh().await, None, &[("HOLDFAST_LOCK_WAIT_MS", "14000")]).await;
    let variant = app.client.variant(1_000).await;
    let hold = |n: usize| {
        let (user, client) = (format!("user-{n}"), app.client.clone());
        let body = json!({"user_id": user, "lines": [{"variant_id": variant, "quantity": 1}]});
        tokio::spawn(async move { client.post_keyed("/holds", &body, &user).await })
    };
    // A Postgres that takes some time for each.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$;
        CREATE TRIGGER slow AFTER INSERT ON holds EXECUTE FUNCTION slow()";
    app.database.pool.execute(slow).await.unwrap();
    let mut holds: Vec<_> = (0..FIRST).map(hold).collect();
    let in_line = || app.app.locks.in_line(variant);
    let finished = |holds: &[JoinHandle<Reply>]| holds.iter().filter(|hold| hold.is_finished()).count();
    eventually(SOON, "the pace is known", async || finished(&holds) >= 32).await;
    // While nobody is served.
    let row = HeldRow::of(&app.database, variant).await;
    holds.extend((FIRST..FIRST + MORE).map(hold));
    let all_came = async || finished(&holds) + in_line() == holds.len();
    eventually(SOON, "some wait, and some have been told", all_came).await;
    let told = finished(&holds[FIRST..]);
    assert!((MORE / 4..MORE).contains(&told), "{told}");
    app.database.pool.execute("DROP TRIGGER slow ON holds").await.unwrap();
    row.let_go().await;
    let mut held = 0;
    for hold in holds {
        match hold.await.unwrap() {
            answer if answer.status == 503 => assert_eq!(answer.code(), "overloaded"),
            answer => {
                answer.expect(201);
                held += 1;
            }
        }
    }
    assert_eq!(held, FIRST + MORE - told);
    app.finish().await;
}

#[tokio::test]
async fn whoever_would_be_served_too_late_behind_others_is_told_so_when_it_comes() {
    /// How many one section takes, and how many more come.
    const ROOM: usize = 256;
    const MORE: usize = 60;
    let app = TestApp::with(TestDatabase::fresh().await, None, &[("HOLDFAST_LOCK_WAIT_MS", "4000")]).await;
    let variant = app.client.variant(1_000).await;
    let sell = || {
        let client = app.client.clone();
        tokio::spawn(async move { client.decrement(variant, 1).await })
    };
    let stop = async || {
        let mut table = app.database.pool.begin().await.unwrap();
        sqlx::query("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE").execute(&mut *table).await.unwrap();
        let first = sell();
        until_at_a_row(&app.database.pool, 1).await;
        (table, first)
    };
    // A Postgres that takes more than two seconds for 256.
    let (mut table, first) = stop().await;
    let sales: Vec<_> = (0..ROOM + MORE).map(|_| sell()).chain([first]).collect();
    let mut sold = sales.len();
    eventually(SOON, "all are in line", async || app.app.locks.in_line(variant) == sold).await;
    sqlx::query("SELECT pg_sleep(2.2)").execute(&mut *table).await.unwrap();
    table.rollback().await.unwrap();
    for sale in sales {
        sale.await.unwrap().expect(200);
    }
    let (table, first) = stop().await;
    let sales: Vec<_> = (0..2 * ROOM + MORE).map(|_| sell()).chain([first]).collect();
    // While nobody is served.
    let refused = async || sales.iter().filter(|sale| sale.is_finished()).count();
    let all_came = async || refused().await + app.app.locks.in_line(variant) == sales.len();
    eventually(SOON, "some wait, and some have been told", all_came).await;
    let refused = refused().await;
    assert!((MORE..=ROOM + MORE).contains(&refused), "{refused}");
    table.rollback().await.unwrap();
    sold += sales.len() - refused;
    let mut told = 0;
    for sale in sales {
        let answer = sale.await.unwrap();
        if answer.status == 503 {
            assert_eq!(answer.expect(503).json()["code"], "overloaded");
            told += 1;
        } else {
            answer.expect(200);
        }
    }
    assert_eq!((told, app.client.on_hand(variant).await), (refused, 1_000 - sold as i64));
    app.finish().await;
}
