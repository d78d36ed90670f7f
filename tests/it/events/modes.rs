//! Changes of the lock mode are events like any other.

use crate::support::{Link, Private, Proxy, Stream, TestApp, TestDatabase};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_redis_is_told_in_the_stream_from_its_beginning_to_its_end() {
    let redis = Private::redis().await;
    let way = Proxy::before_redis(&redis.url()).await;
    let probe = [("HOLDFAST_BREAKER_PROBE_MS", "50")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&way.redis_url()), &probe).await;
    let mut stream = Stream::open(&app.client, "?types=lock.mode_changed").await;
    way.link(Link::Refused);
    app.app.locks.look_once().await;
    let down = stream.next().await.unwrap();
    way.link(Link::Sound);
    let up = stream.next().await.unwrap();
    assert_eq!((&down.data["mode"], &up.data["mode"]), (&"database_only".into(), &"two_layer".into()));
    assert_eq!(down.data["replica"], up.data["replica"]);
    drop(stream);
    app.finish().await;
}
