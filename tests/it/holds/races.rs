//! Many at once for little stock, over two replicas. What two do to one hold is raced in `races`.

use super::{hold, level};
use crate::support::{Peer, TestApp, at_once, shared_redis, unique};

#[tokio::test(flavor = "multi_thread")]
async fn the_last_units_go_to_as_many_as_there_are_whether_held_ordered_or_sold() {
    let app = TestApp::start().await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), &[]).await;
    let variant = app.client.variant(10).await;
    let replies = at_once(45, |n| {
        let client = [&app.client, &peer.client][n % 2].clone();
        async move {
            match n % 3 {
                0 => hold(&client, &format!("user-{n}"), &[(variant, 1)]).await,
                1 => client.order("bob", &unique("key"), &[(variant, 1)]).await,
                _ => client.decrement(variant, 1).await,
            }
        }
    })
    .await;
    assert_eq!(replies.iter().filter(|reply| reply.status.is_success()).count(), 10);
    let [on_hand, held, available] = level(&app.client, variant).await;
    assert_eq!((available, on_hand), (0, held));
    peer.finish().await;
    app.finish().await;
}
