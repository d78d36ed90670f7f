//! Readers that take nothing, that hear nothing, and that are many.

use std::time::Duration;

use holdfast::events::Limits;
use holdfast::events::places::READERS_OF_ONE_MAX;
use holdfast::http::auth::Scope;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{ADMIN_KEY, Stream, TestApp, TestDatabase, eventually, unique};

/// What pages of events may hold that are read for two readers, and a few frames.
const BESIDE: usize = 2 * 1024 * 1024;

/// The largest packet that a stuck reader is sent, in bytes. The sender keeps room for as many packets as may be on their way,
/// and over loopback one has 64 KiB: megabytes of events would be taken from the service before it noticed anything.
#[cfg(target_os = "linux")]
const PACKET: u32 = 536;

/// Asks for events from `id` on, and takes nothing of them.
async fn stuck(app: &TestApp, id: &str, types: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&socket).set_tcp_mss(PACKET).unwrap();
    let mut stuck = socket.connect(app.client.address).await.unwrap();
    let ask = format!(
        "GET /api/v1/events?last_event_id={id}{types} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {ADMIN_KEY}\r\n\r\n"
    );
    stuck.write_all(ask.as_bytes()).await.unwrap();
    stuck
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_take_nothing_are_cut_with_all_that_waits_for_them_and_another_is_told_everything() {
    let limits = Limits { stalled_max: Duration::from_secs(3), held_max: 256 * 1024, ..Limits::default() };
    let app = TestApp::limited(TestDatabase::fresh().await, limits).await;
    let variant = app.client.variant(1_000_000).await;
    let mut well = Stream::open(&app.client, "?types=order.placed").await;
    let stuck =
        [stuck(&app, &well.last_id, "").await, stuck(&app, &well.last_id, "&types=order.placed").await];
    let lines = vec![(variant, 1); 400];
    let events = &app.app.events;
    eventually(Duration::from_secs(60), "they are there", async || events.metrics.readers.get() == 3).await;
    eventually(Duration::from_secs(300), "they are cut", async || {
        if events.metrics.cut.get() < 2 {
            // More than a socket holds, in the end.
            let order = app.client.order("ann", &unique("key"), &lines).await.expect(201).json();
            assert_eq!(well.next().await.unwrap().data["order_id"], order["order_id"]);
        }
        assert!(events.held.bytes() < limits.held_max + BESIDE, "{} bytes wait", events.held.bytes());
        events.metrics.cut.get() == 2
    })
    .await;
    assert_eq!(events.metrics.readers.get(), 1);
    let order = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201).json();
    assert_eq!(well.next().await.unwrap().data, order);
    // Their sockets are still open.
    eventually(Duration::from_secs(60), "nothing waits any more", async || events.held.bytes() == 0).await;
    drop((well, stuck));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_from_far_behind_large_orders_is_told_each_once_and_in_order() {
    let limits = Limits { held_max: 0, ..Limits::default() };
    let app = TestApp::limited(TestDatabase::fresh().await, limits).await;
    let variant = app.client.variant(1_000_000).await;
    let start = Stream::open(&app.client, "").await.last_id.clone();
    let lines = vec![(variant, 1); 1_000];
    let mut orders = Vec::new();
    for _ in 0..6 {
        let order = app.client.order("ann", &unique("key"), &lines).await.expect(201).json();
        orders.push(order["order_id"].clone());
    }
    let mut stream = Stream::from(&app.client, "?types=order.placed", Some(&start)).await;
    let told: Vec<_> = stream.take(6).await.iter().map(|told| told.data["order_id"].clone()).collect();
    assert_eq!(told, orders);
    drop(stream);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_nothing_is_told_that_the_stream_lives_and_from_where_to_go_on() {
    assert_eq!(Limits::default().heartbeat, Duration::from_secs(15));
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let app = TestApp::limited(TestDatabase::fresh().await, limits).await;
    let variant = app.client.variant(100).await;
    let mut stream = Stream::open(&app.client, "?types=hold.*").await;
    let first = stream.last_id.clone();
    app.client.decrement(variant, 1).await.expect(200);
    // What it did not ask for moves it on, without a word of what that was.
    while stream.next_id().await == first {}
    let id = stream.last_id.clone();
    let order = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201).json();
    let mut other = Stream::from(&app.client, "", Some(&id)).await;
    assert_eq!(other.next().await.unwrap().data, order);
    drop((stream, other));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_takes_its_share_of_the_places_and_no_more() {
    let app = TestApp::without_redis().await;
    app.client.variant(1).await;
    let ann = app.client_of("ann", &[Scope::Storefront]).await;
    let mut hers = Vec::new();
    for _ in 0..READERS_OF_ONE_MAX {
        hers.push(Stream::open(&ann, "").await);
    }
    let refused = ann.get("/events").await.expect(503);
    assert_eq!(refused.code(), "overloaded");
    drop(Stream::open(&app.client_of("bob", &[Scope::Storefront]).await, "").await);
    assert!(app.client.get("/status").await.json()["readers"].as_u64().unwrap() >= hers.len() as u64);
    drop(hers);
    eventually(Duration::from_secs(60), "her places are free", async || app.app.readers.taken() == 0).await;
    app.finish().await;
}
