//! Readers that take nothing.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{ADMIN_KEY, Stream, TestApp, eventually, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_cut_and_another_is_told_everything_meanwhile() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(1_000_000).await;
    let mut well = Stream::open(&app.client, "?types=order.placed").await;
    let mut stuck = TcpStream::connect(app.client.address).await.unwrap();
    let ask = format!(
        "GET /api/v1/events?last_event_id={} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {ADMIN_KEY}\r\n\r\n",
        well.last_id
    );
    stuck.write_all(ask.as_bytes()).await.unwrap();
    let lines = vec![(variant, 1); 400];
    let metrics = &app.app.events.metrics;
    eventually(Duration::from_secs(120), "it is cut", async || {
        if metrics.cut.get() == 0 && metrics.readers.get() == 2 {
            // More than a socket holds, in the end.
            let order = app.client.order("ann", &unique("key"), &lines).await.expect(201).json();
            assert_eq!(well.next().await.unwrap().data["order_id"], order["order_id"]);
        }
        metrics.cut.get() == 1
    })
    .await;
    assert_eq!(metrics.readers.get(), 1);
    let order = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201).json();
    assert_eq!(well.next().await.unwrap().data, order);
    drop((well, stuck));
    app.finish().await;
}
