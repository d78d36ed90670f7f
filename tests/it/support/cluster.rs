//! Three masters, each with a replica, that share the slots among them: a cluster as it is run.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::servers::Redis;

use super::proxy::port_of;
use super::{Certificate, Private, Stranger, eventually, free_port};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
/// Nodes that are silent for longer are taken to be dead.
const NODE_TIMEOUT_MS: &str = "1000";
/// A replica is promoted within some node timeouts; a busy machine may need a second election.
const LIMIT: Duration = Duration::from_secs(60);

/// Six nodes, on ports of 127.0.0.1. Dropping it ends them.
pub struct Cluster {
    nodes: Vec<Node>,
    scheme: &'static str,
}

struct Node {
    server: Private<Redis>,
    /// Where clients find it.
    client_port: u16,
    bus_port: u16,
    lives: bool,
}

impl Node {
    async fn start(tls: Option<&Certificate>) -> Self {
        let (bus_port, tls_port) = (free_port(), free_port());
        let mut settings = tls.map(|certificate| certificate.settings(tls_port)).unwrap_or_default();
        settings.extend(
            [
                ("cluster-enabled", "yes"),
                ("cluster-config-file", "nodes.conf"),
                ("cluster-port", &bus_port.to_string()),
                ("cluster-node-timeout", NODE_TIMEOUT_MS),
                ("tls-cluster", if tls.is_some() { "yes" } else { "no" }),
                ("repl-diskless-sync-delay", "0"),
            ]
            .map(|(name, value)| (name, value.to_owned())),
        );
        let server = Private::redis_with(&settings).await;
        let client_port = if tls.is_some() { tls_port } else { port_of(&server.url()) };
        Self { server, client_port, bus_port, lives: true }
    }

    /// Where the test finds it, without TLS.
    fn port(&self) -> u16 {
        port_of(&self.server.url())
    }

    async fn stranger(&self) -> Stranger {
        Stranger::at(&self.server.url()).await
    }
}

impl Cluster {
    /// Starts the nodes, joins them and waits until every slot is served and every replica has caught up.
    pub async fn start() -> Self {
        Self::start_as(None).await
    }

    /// The same, where everybody speaks TLS with everybody but the test.
    pub async fn over_tls(certificate: &Certificate) -> Self {
        Self::start_as(Some(certificate)).await
    }

    async fn start_as(tls: Option<&Certificate>) -> Self {
        let nodes = join_all((0..2 * MASTERS).map(|_| Node::start(tls))).await;
        let cluster = Self { nodes, scheme: if tls.is_some() { "rediss" } else { "redis" } };
        let strangers = cluster.strangers().await;
        for (n, node) in strangers.iter().enumerate() {
            let _set: String = node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await;
        }
        for node in &cluster.nodes[1..] {
            let (port, bus_port) = (node.client_port.to_string(), node.bus_port.to_string());
            let _met: String = strangers[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]).await;
        }
        for node in &strangers {
            eventually(LIMIT, "every node knows every other", async || {
                let known: String = node.ask(&["CLUSTER", "NODES"]).await;
                known.lines().count() == strangers.len() && !known.contains("handshake")
            })
            .await;
        }
        let (masters, replicas) = strangers.split_at(MASTERS);
        for (n, (master, replica)) in masters.iter().zip(replicas).enumerate() {
            let slots = [n, n + 1].map(|n| n * SLOTS / MASTERS);
            let (first, last) = (slots[0].to_string(), (slots[1] - 1).to_string());
            let _added: String = master.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
            let id: String = master.ask(&["CLUSTER", "MYID"]).await;
            let _follows: String = replica.ask(&["CLUSTER", "REPLICATE", &id]).await;
        }
        for replica in replicas {
            eventually(LIMIT, "every replica has caught up", async || {
                replica.ask::<String>(&["INFO", "replication"]).await.contains("master_link_status:up")
            })
            .await;
        }
        cluster.until_ok().await;
        cluster
    }

    /// The value for `REDIS_URL`. The first of the nodes it names is not there.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.client_port)).collect();
        format!("{}+cluster://127.0.0.1:1,{}", self.scheme, hosts.join(","))
    }

    /// The master that has this key's slot.
    pub async fn master_of(&self, key: &str) -> Stranger {
        self.nodes[self.position(key).await].stranger().await
    }

    /// One key each, of masters that are not the same.
    pub async fn two_keys_of_different_masters(&self) -> (String, String) {
        let first = "key-0".to_owned();
        let position = self.position(&first).await;
        for n in 1.. {
            let second = format!("key-{n}");
            if self.position(&second).await != position {
                return (first, second);
            }
        }
        unreachable!("a master has not all the slots")
    }

    /// Moves the key's slot, in which there must be nothing, to another master.
    pub async fn move_slot_of(&self, key: &str) {
        let from = self.position(key).await;
        let (source, target) =
            (self.nodes[from].stranger().await, self.nodes[(from + 1) % MASTERS].stranger().await);
        let slot: u16 = source.ask(&["CLUSTER", "KEYSLOT", key]).await;
        let ids: [String; 2] =
            [source.ask(&["CLUSTER", "MYID"]).await, target.ask(&["CLUSTER", "MYID"]).await];
        for (node, action, id) in [
            (&target, "IMPORTING", &ids[0]),
            (&source, "MIGRATING", &ids[1]),
            (&target, "NODE", &ids[1]),
            (&source, "NODE", &ids[1]),
        ] {
            let _set: String = node.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), action, id]).await;
        }
        eventually(LIMIT, "it is known that the slot has moved", async || self.position(key).await != from)
            .await;
    }

    /// Kills it without a word.
    pub async fn kill_master_of(&mut self, key: &str) {
        let position = self.position(key).await;
        let node = &mut self.nodes[position];
        node.server.kill().await.unwrap();
        node.lives = false;
    }

    /// Lets it hang: it neither answers nor closes.
    pub async fn pause_master_of(&mut self, key: &str) {
        let position = self.position(key).await;
        let node = &mut self.nodes[position];
        node.server.pause();
        node.lives = false;
    }

    /// Waits until every node that lives sees every slot served by one that lives.
    pub async fn until_ok(&self) {
        for node in self.strangers().await {
            eventually(LIMIT, "every slot is served", async || self.is_ok(&node).await).await;
        }
    }

    async fn is_ok(&self, node: &Stranger) -> bool {
        let state: String = node.ask(&["CLUSTER", "INFO"]).await;
        let dead: Vec<_> = self.nodes.iter().filter(|node| !node.lives).map(Node::port).collect();
        state.contains("cluster_state:ok") && shards(node).await.iter().all(|(_, port)| !dead.contains(port))
    }

    /// Keys of this pattern on all masters.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut found = Vec::new();
        for node in self.strangers().await {
            found.extend(node.keys(pattern).await);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    async fn position(&self, key: &str) -> usize {
        let any = self.strangers().await.remove(0);
        let slot: u16 = any.ask(&["CLUSTER", "KEYSLOT", key]).await;
        let shards = shards(&any).await;
        let (_, port) = shards.into_iter().find(|(slots, _)| slots.contains(&slot)).unwrap();
        self.nodes.iter().position(|node| node.port() == port).unwrap()
    }

    /// One on each node that lives.
    pub async fn strangers(&self) -> Vec<Stranger> {
        join_all(self.nodes.iter().filter(|node| node.lives).map(Node::stranger)).await
    }
}

/// Slots, and the port of the master that serves them, as `node` sees it.
async fn shards(node: &Stranger) -> Vec<(RangeInclusive<u16>, u16)> {
    let told: String = node.ask(&["CLUSTER", "NODES"]).await;
    let mut shards = Vec::new();
    for line in told.lines() {
        // "id 127.0.0.1:port@bus flags master ping pong epoch link first-last …"
        let fields: Vec<_> = line.split(' ').collect();
        let port = fields[1].split([':', '@']).nth(1).unwrap().parse().unwrap();
        // One that moves stands in brackets besides.
        for slots in fields.iter().skip(8).filter(|slots| !slots.starts_with('[')) {
            let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
            shards.push((first.parse().unwrap()..=last.parse().unwrap(), port));
        }
    }
    shards
}
