//! What is seen of the locks in a cluster: all of them, wherever they live, and not one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast::locks::{LockKeys, Locks, Timing};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::SOON;
use crate::support::stranger::inventory_lock;
use crate::support::{Cluster, Stranger, eventually};

/// Where all live locks are known.
const INDEX: &str = "holdfast:{fleet}:locks";
/// More than are looked at together.
const LOCKS: usize = 40;

/// Well within what a look's call may take.
const BEFORE_IT_GIVES_UP: Duration = Duration::from_secs(8);

/// No keeper runs, so that whatever is asked, a look asks.
fn onlooker(cluster: &Cluster) -> Arc<Locks> {
    let timing = Timing { redis_timeout: SOON, ..Timing::default() };
    Arc::new(Locks::two_layer(&cluster.url(), timing, TaskTracker::new()).unwrap())
}

#[tokio::test]
async fn locks_on_all_nodes_are_seen_each_with_its_holder() {
    let cluster = Cluster::start().await;
    let (locks, gone) = (onlooker(&cluster), CancellationToken::new());
    let variants: Vec<_> = (0..LOCKS).map(|_| Uuid::new_v4()).collect();
    let lease = locks.acquire(LockKeys::variants(variants.clone()).unwrap(), &gone).await.unwrap();
    let status = onlooker(&cluster).status().await;
    assert!(status.lock_service_available);
    let seen: BTreeSet<_> = status.locks.iter().map(|lock| lock.key.clone()).collect();
    assert_eq!(seen, variants.iter().map(|variant| inventory_lock(*variant)).collect());
    let owners: BTreeSet<_> = status.locks.iter().map(|lock| lock.owner.clone().unwrap()).collect();
    assert_eq!((owners.len(), status.inventory_locks), (1, LOCKS));
    assert!(status.locks.iter().all(|lock| (1..=30).contains(&lock.ttl.unwrap())));
    lease.release().await;
    assert_eq!(locks.status().await.total_active_locks, 0);
}

/// The most that any connection to `node` has sent without being answered, in bytes.
async fn most_unanswered(node: &Stranger) -> usize {
    let clients: String = node.ask(&["CLIENT", "LIST", "TYPE", "NORMAL"]).await;
    let sent = clients.split(' ').filter_map(|field| field.strip_prefix("qbuf=")?.parse().ok());
    sent.max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_is_asked_for_many_locks_at_once() {
    let cluster = Cluster::start().await;
    let id = async |key: &str| cluster.master_of(key).await.ask::<String>(&["CLUSTER", "MYID"]).await;
    let elsewhere = id(INDEX).await;
    let mut tag = 0;
    while id(&format!("lock:{{{tag}}}")).await == elsewhere {
        tag += 1;
    }
    let names: Vec<_> = (0..LOCKS).map(|n| format!("lock:{{{tag}}}{n}")).collect();
    let (node, index) = (cluster.master_of(&names[0]).await, cluster.master_of(INDEX).await);
    for name in &names {
        assert!(node.take(name, "a token").await);
        let _noted: i64 = index.ask(&["ZADD", INDEX, "+inf", name]).await;
    }
    let locks = onlooker(&cluster);
    assert_eq!(locks.status().await.total_active_locks, LOCKS);

    let one = names[0].len() * 2 + "EVALSHA".len() + 40;
    let _paused: String = node.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let looking = tokio::spawn(async move { locks.status().await });
    eventually(BEFORE_IT_GIVES_UP, "ten wait there for their answers", async || {
        most_unanswered(&node).await > 10 * one
    })
    .await;
    let _goes_on: String = node.ask(&["CLIENT", "UNPAUSE"]).await;
    assert_eq!(looking.await.unwrap().total_active_locks, LOCKS);
}
