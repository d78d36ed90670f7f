//! The load generator's scenarios against two replicas while something breaks: whatever does, each ends with the verdict
//! that every unit is accounted for. With `HOLDFAST_CAMPAIGN=long` more breaks, more often, on a Postgres that writes
//! to its disk.

use std::process::Stdio;
use std::time::Duration;

use holdfast::servers::{Postgres, Redis};
use hyper::Method;
use serde_json::Value;

use crate::support::campaign::{amount, report};
use crate::support::sender::WEBHOOKS;
use crate::support::{Client, LoadProgram, Private, Replica, TestDatabase, eventually, free_port};

mod faults;

const SCENARIOS: [&str; 3] = ["checkout", "cancel-storm", "mixed"];
/// Nothing takes longer, on the slowest machine.
const SOON: Duration = Duration::from_secs(120);

/// Two replicas on servers of their own, and a scenario that they serve.
struct Town {
    postgres: Private<Postgres>,
    redis: Private<Redis>,
    database: TestDatabase,
    /// Each with the address that it comes back to.
    replicas: [Option<Replica>; 2],
    ports: [u16; 2],
}

impl Town {
    async fn found() -> Self {
        let postgres = match amount(0, 1) {
            0 => Private::postgres().await,
            _ => Private::durable_postgres().await,
        };
        let (redis, database) = (Private::redis().await, TestDatabase::on(&postgres.url()).await);
        let ports = [free_port(), free_port()];
        let mut town = Self { postgres, redis, database, replicas: [None, None], ports };
        for place in 0..2 {
            town.start(place).await;
        }
        town
    }

    /// Starts a replica, or starts it again where it was.
    async fn start(&mut self, place: usize) {
        let listen = format!("127.0.0.1:{}", self.ports[place]);
        let settings = [("HOLDFAST_LISTEN", listen.as_str()), WEBHOOKS];
        // They have a lot to say while things break.
        let (log, redis) = (Stdio::null(), self.redis.url());
        let replica = Replica::logging_to(log, &self.database.url, Some(&redis), &settings).await;
        self.replicas[place] = Some(replica);
    }

    async fn kill(&mut self, place: usize) {
        self.replicas[place].take().expect("it runs").kill().await;
    }

    fn client(&self, place: usize) -> &Client {
        &self.replicas[place].as_ref().expect("it runs").client
    }

    /// Lets buyers come for this scenario.
    fn open(&self, scenario: &str, lapses: bool) -> LoadProgram {
        let clients = amount(8, 32).to_string();
        // More than a run's buyers want.
        let mut options = vec!["--clients", clients.as_str(), "--stock", "100000"];
        if !lapses && scenario != "cancel-storm" {
            options.extend(["--vanishing", "0", "--late", "0"]);
        }
        LoadProgram::start(scenario, &[0, 1].map(|place| self.client(place).address), &options)
    }

    /// How many requests of buyers had an effect: each keeps its answer under its key. The catalogue is made before.
    async fn effects(&self) -> i64 {
        let count = "SELECT count(*) FROM idempotency_keys WHERE key NOT LIKE '%-variant-%'";
        sqlx::query_scalar(count).fetch_one(&self.database.pool).await.unwrap()
    }

    /// Waits until so many more had.
    async fn more_effects(&self, more: usize) {
        let goal = self.effects().await + more as i64;
        eventually(SOON, "requests have their effects", async || self.effects().await >= goal).await;
    }

    /// Waits until both replicas say this of themselves.
    async fn both_say(&self, field: &str, word: &str) {
        for place in 0..2 {
            let what = format!("replica {place} says that its {field} is {word}");
            eventually(SOON, &what, async || {
                let said = self.client(place).send(Method::GET, "/health/ready", &[], "").await;
                said.is_ok_and(|reply| reply.json()[field] == word)
            })
            .await;
        }
    }

    async fn close(mut self) {
        for replica in self.replicas.iter_mut().filter_map(Option::take) {
            assert!(replica.terminate().await, "a replica did not end well");
        }
        self.database.close().await;
    }
}

/// What a run was, in one line.
fn tell(scenario: &str, fault: &str, found: &Value) {
    let number = |field: &str| found[field].as_u64().unwrap();
    report(&format!(
        "{scenario:<12}  {fault:<34}  {:>8}  {:>8}  {:>8}  {:>8}  {}",
        number("buyers"),
        number("requests"),
        number("unknown_resent"),
        number("refused_resent"),
        if found["ok"] == true { "ok" } else { "FAILED" },
    ));
}
