//! Who reads the stream is told everything once, in the order of commits, wherever it goes on.

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::campaign::{amount, report};
use crate::support::{Peer, Replica, Stream, TestApp, at_once, eventually, shared_redis, unique};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_told_as_it_was_answered_and_in_its_order() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(20).await;
        let mut stream = Stream::open(&app.client, "").await;
        let sold = app.client.decrement(variant, 5).await.expect(200).json();
        let order =
            app.client.order("ann", &unique("key"), &[(variant, 2), (variant, 4)]).await.expect(201).json();
        let cancel = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
        let cancelled = app.client.post(&cancel, &json!({})).await.expect(200).json();
        let told = stream.take(7).await;
        let kinds: Vec<_> = told.iter().map(|told| told.event.as_str()).collect();
        let changed = "stock.changed";
        assert_eq!(kinds, [changed, "order.placed", changed, changed, "stock.low", changed, changed]);
        let last = stream.next().await.unwrap();
        assert_eq!((last.event.as_str(), &last.data), ("order.cancelled", &cancelled));
        assert_eq!((&told[0].data, &told[1].data), (&sold, &order));
        let versions: Vec<_> = told
            .iter()
            .filter(|told| told.event == changed)
            .map(|told| told.data["version"].clone())
            .collect();
        assert_eq!(json!(versions), json!([2, 3, 4, 5, 6]));
        assert!(told.windows(2).all(|two| number(&two[0].id) < number(&two[1].id)));
        drop(stream);
        app.finish().await;
    }
}

fn number(id: &str) -> i64 {
    id.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_told_as_it_was_placed_whatever_was_cancelled_since() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(100).await;
    let start = Stream::open(&app.client, "").await.last_id.clone();
    let order = app.client.order("ann", &unique("key"), &[(variant, 2)]).await.expect(201).json();
    let cancel = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
    app.client.post(&cancel, &json!({})).await.expect(200);
    let mut stream = Stream::from(&app.client, "?types=order.placed", Some(&start)).await;
    assert_eq!(stream.next().await.unwrap().data, order);
    drop(stream);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_goes_on_at_any_replica_without_a_gap_and_without_a_repetition() {
    let app = TestApp::start().await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), &[]).await;
    let variants = app.variants(3, 10_000).await;
    let first = Stream::open(&app.client, "?types=stock.changed").await;
    let mut last_id = first.last_id.clone();
    drop(first);
    let (clients, sold) = ([app.client.clone(), peer.client.clone()], variants.clone());
    let selling = tokio::spawn(async move {
        at_once(300, |n| {
            let (client, variant) = (clients[n % 2].clone(), sold[n % 3]);
            async move { client.decrement(variant, 1).await.expect(200).json() }
        })
        .await
    });
    let mut told = Vec::new();
    while told.len() < 300 {
        let client = [&app.client, &peer.client][told.len() % 2];
        let mut stream = Stream::from(client, "?types=stock.changed", Some(&last_id)).await;
        for _ in 0..17.min(300 - told.len()) {
            told.push(stream.next().await.unwrap());
        }
        last_id.clone_from(&told[told.len() - 1].id);
    }
    let sold = selling.await.unwrap();
    let key = |movement: &Value| movement["movement_id"].as_str().unwrap().to_owned();
    let mut expected: Vec<_> = sold.iter().map(key).collect();
    let mut found: Vec<_> = told.iter().map(|told| key(&told.data)).collect();
    for variant in variants {
        let of_it = told.iter().filter(|told| told.data["variant_id"] == json!(variant));
        let versions: Vec<_> = of_it.map(|told| told.data["version"].as_i64().unwrap()).collect();
        assert_eq!(versions, (2..102).collect::<Vec<_>>());
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_lasts_makes_the_stream_wait_and_nothing_of_it_is_skipped() {
    let app = TestApp::without_redis().await;
    let (variant, others) = (app.client.variant(100).await, app.variants(20, 10_000).await);
    let alone = sales_a_second(&app, &others).await;
    let mut stream = Stream::open(&app.client, "?types=stock.*,session.*").await;
    // It draws its position first, and commits last; another that is older yet writes nothing at all.
    let mut oldest = PgConnection::connect(&app.database.url).await.unwrap();
    oldest.execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let mut long = PgConnection::connect(&app.database.url).await.unwrap();
    long.execute(
        "BEGIN; INSERT INTO events (event_id, kind, data) VALUES (gen_random_uuid(), 'session.started', '{}')",
    )
    .await
    .unwrap();
    let sold = app.client.decrement(variant, 1).await.expect(200).json();
    oldest.execute("ROLLBACK").await.unwrap();
    // Others commit meanwhile as if there were nobody who lasts.
    let beside = sales_a_second(&app, &others).await;
    report(&format!("{alone:.0} sales a second; {beside:.0} while a transaction is held open"));
    // Alone on a machine this tells something; in a crowd it would not.
    let is_long = amount(0, 1) == 1;
    assert!(!is_long || beside >= alone / 2.0, "{beside:.0} of {alone:.0} sales a second");
    commit_when_waited_for(&app, &mut long).await;
    // What was told before its time would come first.
    let told = stream.take(2).await;
    assert_eq!(
        (told[0].event.as_str(), told[1].event.as_str(), &told[1].data),
        ("session.started", "stock.changed", &sold)
    );
    drop(stream);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_when_all_that_was_under_way_can_be_seen_and_tells_the_rest() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(100).await;
    let mut long = PgConnection::connect(&app.database.url).await.unwrap();
    long.execute(
        "BEGIN; INSERT INTO events (event_id, kind, data) VALUES (gen_random_uuid(), 'session.started', '{}')",
    )
    .await
    .unwrap();
    let client = app.client.clone();
    let opening = tokio::spawn(async move { Stream::open(&client, "?types=stock.*,session.*").await });
    eventually(std::time::Duration::from_secs(60), "it is a reader", async || {
        app.app.events.metrics.readers.get() == 1
    })
    .await;
    let sold = app.client.decrement(variant, 1).await.expect(200).json();
    assert!(!opening.is_finished(), "what is under way could be missed");
    long.execute("COMMIT").await.unwrap();
    let mut stream = opening.await.unwrap();
    let told = stream.next().await.unwrap();
    assert_eq!((told.event.as_str(), &told.data), ("stock.changed", &sold));
    // Nor does it wait for a position that was drawn for nothing.
    long.execute("BEGIN; SELECT nextval('event_positions'); ROLLBACK").await.unwrap();
    drop((stream, Stream::open(&app.client, "").await));
    app.finish().await;
}

/// Twenty sell at the same time, each of an item of its own.
async fn sales_a_second(app: &TestApp, items: &[Uuid]) -> f64 {
    let (each, began) = (amount(1, 300), Instant::now());
    at_once(items.len(), |n| {
        let (client, variant) = (app.client.clone(), items[n]);
        async move {
            for _ in 0..each {
                client.decrement(variant, 1).await.expect(200);
            }
        }
    })
    .await;
    (each * items.len()) as f64 / began.elapsed().as_secs_f64()
}

/// Commits once the relay was seen to wait for a while.
async fn commit_when_waited_for(app: &TestApp, long: &mut PgConnection) {
    // In the long form for a minute, in which others go on.
    let millis = u64::try_from(amount(300, 60_000)).unwrap();
    eventually(std::time::Duration::from_secs(90), "the stream waits, and tells how long", async || {
        app.app.events.lag() > std::time::Duration::from_millis(millis)
    })
    .await;
    let metrics = app.client.send(hyper::Method::GET, "/metrics", &[], "").await.unwrap().expect(200);
    let metrics = String::from_utf8(metrics.bytes.to_vec()).unwrap();
    let lag = metrics.lines().find_map(|line| line.strip_prefix("holdfast_event_lag_seconds ")).unwrap();
    assert!(lag.parse::<f64>().unwrap() * 1_000.0 > millis as f64, "{lag}");
    let status = app.client.get("/status").await.expect(200).json();
    assert!(status["stream_lag_seconds"].as_f64().unwrap() * 1_000.0 > millis as f64, "{status}");
    long.execute("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_what_it_asks_for_and_a_wrong_wish_is_refused_by_its_name() {
    let app = TestApp::without_redis().await;
    let (a, b) = (app.client.variant(100).await, app.client.variant(100).await);
    let mut of_a = Stream::open(&app.client, &format!("?variant_id={a}&types=stock.changed,order.*")).await;
    app.client.decrement(b, 1).await.expect(200);
    app.client.order("ann", &unique("key"), &[(b, 1)]).await.expect(201);
    let order = app.client.order("ann", &unique("key"), &[(b, 1), (a, 2)]).await.expect(201).json();
    let told = of_a.take(2).await;
    assert_eq!((&told[0].data, told[1].data["variant_id"].clone()), (&order, json!(a)));
    for (query, field) in [
        ("?types=stock", "types"),
        ("?types=", "types"),
        ("?variant_id=7", "variant_id"),
        ("?last_event_id=-1", "last_event_id"),
        ("?last_event_id=x", "last_event_id"),
        ("?last_event_id=99999999999999999999", "last_event_id"),
    ] {
        let refused = app.client.get(&format!("/events{query}")).await.expect(422);
        assert_eq!(refused.json()["errors"][0]["field"], field, "{query}");
    }
    app.client.get("/events?since=1").await.expect(422);
    drop(of_a);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storefront_is_told_of_its_own_orders_and_of_no_one_elses() {
    use holdfast::http::auth::Scope::{Storefront, Warehouse};
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(100).await;
    let ann = app.client_of("ann", &[Storefront]).await;
    let mut hers = Stream::open(&ann, "?types=order.*").await;
    let mut counters = Stream::open(&app.client_of("carl", &[Warehouse]).await, "").await;
    app.client.order("bob", &unique("key"), &[(variant, 1)]).await.expect(201);
    let order = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201).json();
    assert_eq!(hers.next().await.unwrap().data, order);
    let told = counters.take(2).await;
    assert!(told.iter().all(|told| told.event == "stock.changed"));
    assert_eq!(ann.get("/events?types=invoice.*").await.expect(403).code(), "forbidden");
    drop((hers, counters));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_whose_continuation_is_forgotten_or_that_is_of_another_database_is_refused() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(100).await;
    let start = Stream::open(&app.client, "").await.last_id.clone();
    let order = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201).json();
    let cancel = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
    app.client.post(&cancel, &json!({})).await.expect(200);
    let unknown = app.client.get("/events?last_event_id=1000000").await.expect(410);
    assert_eq!(unknown.code(), "cursor_gone");
    assert_eq!(holdfast::purge::purge(&app.app.db).await.unwrap().told, 0);
    sqlx::raw_sql(
        "ALTER TABLE events DISABLE TRIGGER events_are_not_changed;
         UPDATE events SET happened_at = happened_at - interval '8 days';
         ALTER TABLE events ENABLE TRIGGER events_are_not_changed",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
    assert_eq!(holdfast::purge::purge(&app.app.db).await.unwrap().told, 1);
    assert_eq!(
        app.client.get(&format!("/events?last_event_id={start}")).await.expect(410).code(),
        "cursor_gone"
    );
    let mut stream = Stream::open(&app.client, "").await;
    app.client.decrement(variant, 1).await.expect(200);
    assert_eq!(stream.next().await.unwrap().event, "stock.changed");
    drop(stream);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_ends_its_streams_at_once() {
    let app = TestApp::start().await;
    let replica = Replica::start(&app.database.url, Some(&shared_redis()), &[]).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Stream::open(&replica.client, "").await);
    }
    let asked = Instant::now();
    assert!(replica.terminate().await);
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(20),
        "it drains for 30 s at most: {:?}",
        asked.elapsed()
    );
    for stream in &mut streams {
        assert_eq!(stream.next().await, None);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_hangs_up_while_it_waits_for_its_turn_to_read_gives_its_place_back() {
    let app = TestApp::without_redis().await;
    app.client.variant(1).await;
    let minute = std::time::Duration::from_secs(60);
    eventually(minute, "the relay is there", async || app.app.events.at().is_some_and(|at| at > 0)).await;
    let turns = u32::try_from(app.app.catching_up.available_permits()).unwrap();
    let all_turns = app.app.catching_up.acquire_many(turns).await.unwrap();
    let stream = Stream::from(&app.client, "", Some("0")).await;
    let readers = &app.app.events.metrics.readers;
    assert_eq!(readers.get(), 1);
    drop(stream);
    eventually(minute, "its place is free", async || readers.get() == 0).await;
    drop(all_turns);
    app.finish().await;
}
