//! A master, its replica, and three sentinels that watch them: a failover as it happens.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use holdfast::servers::{Redis, TempFolder, find};
use tokio::process::{Child, Command};

use super::proxy::port_of;
use super::{Certificate, Private, Stranger, eventually, free_port};

/// What the sentinels call the service.
pub const SERVICE: &str = "shop";
/// Sentinels greet each other every two seconds, and a lost election is held again after some more.
const LIMIT: Duration = Duration::from_secs(60);

/// All five, on ports of 127.0.0.1. Dropping it ends them.
pub struct Watched {
    servers: [Server; 2],
    sentinels: Vec<Sentinel>,
    /// Which of the servers is the master, as far as the test was told.
    master: usize,
    scheme: &'static str,
    /// Takes connections and never says a word.
    silent: TcpListener,
}

struct Server {
    redis: Private<Redis>,
    /// Where clients, the other server and the sentinels find it.
    port: u16,
}

struct Sentinel {
    /// Where the test asks it.
    plain_port: u16,
    /// Where everybody else does.
    port: u16,
    _child: Child,
    _folder: TempFolder,
}

impl Watched {
    /// Starts them and waits until they know of each other.
    pub async fn start() -> Self {
        Self::start_as(None).await
    }

    /// The same, where everybody speaks TLS with everybody but the test.
    pub async fn over_tls(certificate: &Certificate) -> Self {
        Self::start_as(Some(certificate)).await
    }

    async fn start_as(tls: Option<&Certificate>) -> Self {
        let servers: [_; 2] = tokio::join!(Server::start(tls), Server::start(tls)).into();
        let replica = Stranger::at(&servers[1].redis.url()).await;
        let master = servers[0].port;
        let _begun: String = replica.ask(&["REPLICAOF", "127.0.0.1", &master.to_string()]).await;
        let watched = Self {
            servers,
            sentinels: (0..3).map(|_| Sentinel::start(master, tls)).collect(),
            master: 0,
            scheme: if tls.is_some() { "rediss" } else { "redis" },
            silent: TcpListener::bind("127.0.0.1:0").unwrap(),
        };
        watched.until_ready().await;
        watched
    }

    /// The value for `REDIS_URL`. Of the sentinels it names the first is not there and the second hangs.
    pub fn url(&self) -> String {
        let silent = self.silent.local_addr().unwrap().port();
        let ports = [1, silent].into_iter().chain(self.sentinels.iter().map(|sentinel| sentinel.port));
        let hosts: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        format!("{}+sentinel://{}/{SERVICE}", self.scheme, hosts.join(","))
    }

    /// The master itself.
    pub async fn master(&self) -> Stranger {
        Stranger::at(&self.servers[self.master].redis.url()).await
    }

    /// Kills the master without a word.
    pub async fn kill_master(&mut self) {
        self.servers[self.master].redis.kill().await.unwrap();
    }

    /// Waits until the sentinels have made the other one the master.
    pub async fn until_failed_over(&mut self) {
        self.master = 1 - self.master;
        let wanted = self.servers[self.master].port.to_string();
        for sentinel in &self.sentinels {
            let sentinel = sentinel.stranger().await;
            eventually(LIMIT, "a new master is elected", async || {
                let address: Vec<String> =
                    sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await;
                address[1] == wanted
            })
            .await;
        }
    }

    /// Starts the old master again, empty, and waits until it follows the new one.
    pub async fn return_of_the_old_master(&mut self) {
        let old = &mut self.servers[1 - self.master].redis;
        old.restart().await.unwrap();
        let url = old.url();
        eventually(LIMIT, "the old master follows the new one", async || {
            // Sentinels cut its connections when they make it a replica, those that are being made too.
            let Ok(server) = Stranger::try_at(&url).await else { return false };
            let told = server.try_ask::<String>(&["INFO", "replication"]).await;
            told.is_ok_and(|told| told.contains("master_link_status:up"))
        })
        .await;
    }

    async fn until_ready(&self) {
        for sentinel in &self.sentinels {
            let sentinel = sentinel.stranger().await;
            // As it comes they would greet each other every two seconds, and ask the servers every ten.
            let hasty = ["SENTINEL", "DEBUG", "publish-period", "200", "info-period", "500"];
            let _set: String = sentinel.ask(&hasty).await;
            eventually(LIMIT, "the sentinels know of each other and of both servers", async || {
                let told: Vec<String> = sentinel.ask(&["SENTINEL", "MASTER", SERVICE]).await;
                let is = |name: &str, value: &str| told.chunks(2).any(|pair| pair == [name, value]);
                is("num-other-sentinels", "2") && is("num-slaves", "1") && is("flags", "master")
            })
            .await;
        }
        let master = self.master().await;
        eventually(LIMIT, "the replica has caught up", async || {
            master.ask::<String>(&["INFO", "replication"]).await.contains("state=online")
        })
        .await;
    }
}

impl Server {
    async fn start(tls: Option<&Certificate>) -> Self {
        let tls_port = free_port();
        let mut settings = tls.map(|certificate| certificate.settings(tls_port)).unwrap_or_default();
        settings.push(("repl-diskless-sync-delay", "0".to_owned()));
        let redis = Private::redis_with(&settings).await;
        let port = if tls.is_some() { tls_port } else { port_of(&redis.url()) };
        Self { redis, port }
    }
}

impl Sentinel {
    fn start(master: u16, tls: Option<&Certificate>) -> Self {
        let (folder, plain_port, tls_port) = (TempFolder::new().unwrap(), free_port(), free_port());
        let dir = folder.path().display();
        let mut text = format!(
            "bind 127.0.0.1\nport {plain_port}\ndir \"{dir}\"\nsentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 2000\n",
        );
        for (name, value) in tls.map(|certificate| certificate.settings(tls_port)).unwrap_or_default() {
            writeln!(text, "{name} \"{value}\"").unwrap();
        }
        // It keeps what it learns in this file.
        let settings = folder.path().join("sentinel.conf");
        fs::write(&settings, text).unwrap();
        let log = fs::File::create(folder.path().join("sentinel.log")).unwrap();
        let child = Command::new(find::redis().unwrap().path)
            .arg(&settings)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let port = if tls.is_some() { tls_port } else { plain_port };
        Self { plain_port, port, _child: child, _folder: folder }
    }

    async fn stranger(&self) -> Stranger {
        let url = format!("redis://127.0.0.1:{}", self.plain_port);
        eventually(LIMIT, "a sentinel answers", async || Stranger::try_at(&url).await.is_ok()).await;
        Stranger::at(&url).await
    }
}
