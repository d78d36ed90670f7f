//! Selling stock, one call at a time and all at once.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Barrier;

use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_is_sold_exactly_once_with_redis_and_without() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(1).await;
        let start = Arc::new(Barrier::new(20));
        let buyers = (0..20).map(|_| {
            let (client, start) = (app.client.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                client.decrement(variant, 1).await
            })
        });
        let replies: Vec<_> = join_all(buyers).await.into_iter().map(Result::unwrap).collect();
        let sold = replies.iter().filter(|reply| reply.status == 200).count();
        let refused = replies
            .iter()
            .filter(|reply| reply.code() == "insufficient_stock")
            .count();
        assert_eq!((sold, refused), (1, 19));
        assert_eq!(app.client.on_hand(variant).await, 0);
        app.finish().await;
    }
}
