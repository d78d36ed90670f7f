//! A network that has fallen silent: nothing comes any more, and nothing breaks off.

use std::time::Duration;

use holdfast::events::Limits;

use crate::support::link::Link;
use crate::support::proxy::port_of;
use crate::support::{Private, Proxy, Stream, TestApp, TestDatabase, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_fallen_silent_is_given_up_and_the_stream_goes_on_over_another() {
    let postgres = Private::postgres_on_tcp().await;
    let proxy = Proxy::before(port_of(&postgres.url()), (Duration::ZERO, Duration::ZERO)).await;
    let mut database = TestDatabase::on(&postgres.url()).await;
    database.url = proxy.instead_of(&database.url);
    let limits = Limits { look_max: Duration::from_secs(1), ..Limits::default() };
    let app = TestApp::limited(database, limits).await;
    // Where there is a place to go on from, the stream asks for no other connection.
    app.client.variant(1).await;
    let is_there = async || app.app.events.at().is_some_and(|at| at > 0);
    eventually(Duration::from_secs(60), "the relay is there", is_there).await;
    let mut stream = Stream::open(&app.client, "").await;
    // Those connections that are there say nothing more; those that come are sound.
    proxy.link(Link::StalledSoFar);
    let append =
        "INSERT INTO events (event_id, kind, data) VALUES (gen_random_uuid(), 'session.started', '{}')";
    sqlx::query(append).execute(&app.database.pool).await.unwrap();
    assert_eq!(stream.next().await.unwrap().event, "session.started");
    drop(stream);
    proxy.link(Link::Sound);
    app.finish().await;
}
