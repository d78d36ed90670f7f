//! The crowd on one item at several replicas: everybody's share, and every replica's.
//!
//! Without the line, whoever let go last would take the key again while others starve, and a replica whose polls fall
//! badly would sell nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::campaign::{amount, report};
use crate::support::{Peer, TestApp, TestDatabase, at_once, shared_redis};

const REPLICAS: usize = 3;
const CLIENTS: usize = 24;
/// Never sold out.
const ON_HAND: i64 = 1_000_000;
/// The least that Jain's index of fairness may be: 1 if all have the same, 1/n if one has all.
const FAIR: f64 = 0.98;
/// The most that the longest wait may be of the median, both in turns: how many sales were made since the client's last
/// one. In milliseconds they would tell how evenly the machine runs, for a pause of it lengthens all waits at once.
const LONGEST: i64 = 3;

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
    let variant = app.client.variant(ON_HAND).await;
    let (started, selling_for) = (Instant::now(), Duration::from_secs(amount(3, 10) as u64));
    let sold = at_once(CLIENTS, |n| {
        let client = replicas[n % REPLICAS].clone();
        async move {
            let mut sold = Vec::new();
            while started.elapsed() < selling_for {
                let sale = client.decrement(variant, 1).await.expect(200).json();
                sold.push((sale["version"].as_i64().unwrap(), sale["lock"]["wait_ms"].as_i64().unwrap()));
            }
            sold
        }
    })
    .await;
    let sales: Vec<f64> = sold.iter().map(|sold| sold.len() as f64).collect();
    let by_replica: Vec<f64> =
        (0..REPLICAS).map(|replica| sales.iter().skip(replica).step_by(REPLICAS).sum()).collect();
    assert!(jain(&sales) >= FAIR, "clients' shares {sales:?}");
    assert!(jain(&by_replica) >= FAIR, "replicas' shares {by_replica:?}");
    let [turns, millis] = [
        Spread::of(sold.iter().flat_map(|sold| sold.windows(2).map(|two| two[1].0 - two[0].0)).collect()),
        Spread::of(sold.iter().flatten().map(|(_, wait_ms)| *wait_ms).collect()),
    ];
    let all: usize = sold.iter().map(Vec::len).sum();
    report(&format!(
        "{CLIENTS} clients of one item at {REPLICAS} replicas, {selling_for:?}: {all} sales, Jain's index {:.4}; waits \
         in turns {turns}; in ms {millis}",
        jain(&sales),
    ));
    assert!(turns.longest <= LONGEST * turns.median, "waits in turns: {turns}");
    assert_eq!(app.client.on_hand(variant).await, ON_HAND - all as i64);
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

/// How much waits differ.
struct Spread {
    median: i64,
    longest: i64,
}

impl Spread {
    fn of(mut waits: Vec<i64>) -> Self {
        waits.sort_unstable();
        Self { median: waits[waits.len() / 2], longest: waits[waits.len() - 1] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in the middle and {} at the most", self.median, self.longest)
    }
}
