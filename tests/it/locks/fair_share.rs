//! The crowd on one item at several replicas: everybody's share, and every replica's.
//!
//! Without the line, whoever let go last would take the key again while others starve, and a replica whose polls fall
//! badly would sell nothing.

use tokio::time::Instant;

use super::SOON;
use crate::support::{Peer, TestApp, TestDatabase, at_once, shared_redis};

const REPLICAS: usize = 3;
const CLIENTS: usize = 24;
const SALES: i64 = 3_000;
/// The least that Jain's index of fairness may be: 1 if all have the same, 1/n if one has all.
const FAIR: f64 = 0.98;

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_replicas_get_equal_shares_of_one_item_and_nobody_waits_for_its_poll() {
    // Longer than a request waits: whoever is not called is refused.
    let no_poll = [("HOLDFAST_LOCK_RETRY_MS", "10000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &no_poll).await;
    let mut peers = Vec::new();
    for _ in 1..REPLICAS {
        peers.push(Peer::start(&app.database.url, Some(&shared_redis()), &no_poll).await);
    }
    let replicas: Vec<_> = [&app.client].into_iter().chain(peers.iter().map(|peer| &peer.client)).collect();
    let variant = app.client.variant(SALES).await;
    let started = Instant::now();
    let sales = at_once(CLIENTS, |n| {
        let client = replicas[n % REPLICAS].clone();
        async move {
            let mut sales = 0.0;
            loop {
                match client.decrement(variant, 1).await.status.as_u16() {
                    200 => sales += 1.0,
                    409 => return sales,
                    other => panic!("{other} after {:?}", started.elapsed()),
                }
                assert!(started.elapsed() < 4 * SOON, "the item is not sold out");
            }
        }
    })
    .await;
    assert!((sales.iter().sum::<f64>() - SALES as f64).abs() < 0.5, "{sales:?}");
    let by_replica: Vec<f64> =
        (0..REPLICAS).map(|replica| sales.iter().skip(replica).step_by(REPLICAS).sum()).collect();
    assert!(jain(&sales) >= FAIR, "clients' shares {sales:?}");
    assert!(jain(&by_replica) >= FAIR, "replicas' shares {by_replica:?}");
    for peer in peers {
        peer.finish().await;
    }
    app.finish().await;
}

fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) =
        shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    sum * sum / (shares.len() as f64 * squares)
}
