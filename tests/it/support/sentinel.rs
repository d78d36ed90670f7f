//! A master, its replica, and three sentinels that watch them: a failover as it happens.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use holdfast::servers::{Redis, TempFolder, find};
use tokio::process::{Child, Command};

use super::proxy::port_of;
use super::{Private, Stranger, eventually, free_port};

/// What the sentinels call the service.
pub const SERVICE: &str = "shop";
/// Sentinels greet each other every two seconds, and a lost election is held again after some more.
const LIMIT: Duration = Duration::from_secs(60);

/// All five, on ports of 127.0.0.1. Dropping it ends them.
pub struct Watched {
    servers: [Private<Redis>; 2],
    sentinels: Vec<Sentinel>,
    /// Which of the servers is the master, as far as the test was told.
    master: usize,
}

struct Sentinel {
    port: u16,
    _child: Child,
    _folder: TempFolder,
}

impl Watched {
    /// Starts them and waits until they know of each other.
    pub async fn start() -> Self {
        let servers = tokio::join!(server(), server());
        let servers: [_; 2] = servers.into();
        let master = port_of(&servers[0].url());
        let replica = Stranger::at(&servers[1].url()).await;
        let _begun: String = replica.ask(&["REPLICAOF", "127.0.0.1", &master.to_string()]).await;
        let sentinels = (0..3).map(|_| Sentinel::start(master)).collect();
        let watched = Self { servers, sentinels, master: 0 };
        watched.until_ready().await;
        watched
    }

    /// The value for `REDIS_URL`. The first of the sentinels it names is not there.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
        format!("redis+sentinel://127.0.0.1:1,{}/{SERVICE}", hosts.join(","))
    }

    /// The master itself.
    pub async fn master(&self) -> Stranger {
        Stranger::at(&self.servers[self.master].url()).await
    }

    /// Kills the master without a word.
    pub async fn kill_master(&mut self) {
        self.servers[self.master].kill().await.unwrap();
    }

    /// Waits until the sentinels have made the other one the master.
    pub async fn until_failed_over(&mut self) {
        self.master = 1 - self.master;
        let wanted = port_of(&self.servers[self.master].url()).to_string();
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
        let old = &mut self.servers[1 - self.master];
        old.restart().await.unwrap();
        let url = old.url();
        eventually(LIMIT, "the old master follows the new one", async || {
            // Sentinels cut its connections when they make it a replica.
            let told = Stranger::at(&url).await.try_ask::<String>(&["INFO", "replication"]).await;
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

async fn server() -> Private<Redis> {
    Private::redis_with(&[("repl-diskless-sync-delay", "0")]).await
}

impl Sentinel {
    fn start(master: u16) -> Self {
        let (folder, port) = (TempFolder::new().unwrap(), free_port());
        let dir = folder.path().display();
        // It keeps what it learns in this file.
        let settings = folder.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir \"{dir}\"\nsentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 2000\n",
        );
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
        Self { port, _child: child, _folder: folder }
    }

    async fn stranger(&self) -> Stranger {
        let url = format!("redis://127.0.0.1:{}", self.port);
        eventually(LIMIT, "a sentinel answers", async || Stranger::try_at(&url).await.is_some()).await;
        Stranger::at(&url).await
    }
}
