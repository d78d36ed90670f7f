//! A network that has fallen silent: nothing comes any more, and nothing breaks off.

use std::time::Duration;

use holdfast::endpoints::deliver;
use holdfast::events::Limits;
use serde_json::json;
use sqlx::Executor;

use crate::endpoints::receiver::Receiver;
use crate::support::link::Link;
use crate::support::proxy::port_of;
use crate::support::{Private, Proxy, Stream, TestApp, TestDatabase, eventually};

const SOON: Duration = Duration::from_secs(60);
const APPEND: &str =
    "INSERT INTO events (event_id, kind, data) VALUES (gen_random_uuid(), 'session.started', '{}')";
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'holdfast' AND wait_event_type = 'Lock'";
/// What the server does once it has not heard of them for a while.
const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'holdfast%'";

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_have_fallen_silent_are_given_up_and_streams_and_deliveries_go_on_over_others() {
    let postgres = Private::postgres_on_tcp().await;
    let proxy = Proxy::before(port_of(&postgres.url()), (Duration::ZERO, Duration::ZERO)).await;
    let mut database = TestDatabase::on(&postgres.url()).await;
    database.url = proxy.instead_of(&database.url);
    let (look_max, page_max) = (Duration::from_secs(1), Duration::from_secs(1));
    let app = TestApp::limited(database, Limits { look_max, page_max, ..Limits::default() }).await;
    let pool = &app.database.pool;
    // Where there is a place to go on from, the stream asks for no other connection.
    app.client.variant(1).await;
    let is_there = async || app.app.events.at().is_some_and(|at| at > 0);
    eventually(SOON, "the relay is there", is_there).await;
    let receiver = Receiver::start().await;
    let endpoint = json!({"url": receiver.url(), "types": ["session.started"]});
    app.client.post("/webhook-endpoints", &endpoint).await.expect(201);
    let mut stream = Stream::open(&app.client, "").await;
    let courier = tokio::spawn(deliver::keep(app.app.clone()));
    // The courier is in the middle of a statement (behind a lock that writes nothing, for the stream would wait for that),
    let mut held = pool.begin().await.unwrap();
    held.execute("LOCK TABLE webhook_endpoints IN EXCLUSIVE MODE").await.unwrap();
    pool.execute(APPEND).await.unwrap();
    assert_eq!(stream.next().await.unwrap().event, "session.started");
    eventually(SOON, "the courier waits", async || {
        sqlx::query_scalar::<_, i64>(WAITING).fetch_one(pool).await.unwrap() > 0
    })
    .await;
    // when those connections that are there say nothing more; those that come are sound.
    proxy.link(Link::StalledSoFar);
    pool.execute(END).await.unwrap();
    held.rollback().await.unwrap();
    pool.execute(APPEND).await.unwrap();
    assert_eq!(stream.next().await.unwrap().event, "session.started");
    eventually(SOON, "both are delivered", async || receiver.sent().len() >= 2).await;
    drop(stream);
    proxy.link(Link::Sound);
    app.app.stopping.cancel();
    courier.await.unwrap();
    app.finish().await;
}
