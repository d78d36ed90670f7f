//! The race with a program in another language, with the lock that its Redis client brings along.
//!
//! redis-py's `Lock` and Holdfast must exclude each other on the published key, wait for each other, and never let
//! go of what has become the other's. A key of another shape, a value that the other's scripts can't compare or a
//! release that does not ask would each break one of these tests.

use std::path::PathBuf;
use std::process::Stdio;

use holdfast::servers::Redis;
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::SOON;
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{HeldRow, Private, Reply, Stranger, TestApp, TestDatabase, eventually};

/// A Python process, told what to do line by line.
struct Python {
    says: Lines<BufReader<ChildStdout>>,
    told: ChildStdin,
    _child: Child,
}

impl Python {
    fn start(redis_url: &str) -> Self {
        let mut child = Command::new(interpreter())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/locks/redis_py_lock.py"))
            .arg(redis_url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("there is no Python for the tests: run `make tools`");
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { says, told: child.stdin.take().unwrap(), _child: child }
    }

    async fn tell(&mut self, word: &str, key: &str) {
        self.told.write_all(format!("{word} {key}\n").as_bytes()).await.unwrap();
    }

    async fn answer(&mut self) -> String {
        self.says.next_line().await.unwrap().expect("Python ended: its last words are above")
    }

    async fn ask(&mut self, word: &str, key: &str) -> String {
        self.tell(word, key).await;
        self.answer().await
    }
}

/// The Python that `make tools` sets up.
fn interpreter() -> PathBuf {
    if let Some(named) = std::env::var_os("HOLDFAST_TEST_PYTHON") {
        return named.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("python/bin/python")
}

/// Holdfast and Python at one Redis of their own, with one variant between them.
struct Neighbours {
    app: TestApp,
    python: Python,
    redis: Stranger,
    variant: Uuid,
    key: String,
    _server: Private<Redis>,
}

impl Neighbours {
    async fn with(settings: &[(&str, &str)]) -> Self {
        let server = Private::redis_on_tcp().await;
        let app = TestApp::with(TestDatabase::fresh().await, Some(&server.url()), settings).await;
        let python = Python::start(&server.url());
        let redis = Stranger::at(&server.url()).await;
        let variant = app.client.variant(1_000).await;
        Self { app, python, redis, variant, key: inventory_lock(variant), _server: server }
    }

    fn sale(&self) -> JoinHandle<Reply> {
        let (client, variant) = (self.app.client.clone(), self.variant);
        tokio::spawn(async move { client.decrement(variant, 1).await })
    }

    /// A sale in the middle of its section, until the row is let go.
    async fn sale_at_its_row(&self) -> (JoinHandle<Reply>, HeldRow) {
        let row = HeldRow::of(&self.app.database, self.variant).await;
        let sale = self.sale();
        until_at_a_row(&self.app.database.pool, 1).await;
        (sale, row)
    }

    /// How many scripts this Redis has run.
    async fn scripts_run(&self) -> u64 {
        let stats: String = self.redis.ask(&["INFO", "commandstats"]).await;
        stats
            .lines()
            .filter(|line| line.starts_with("cmdstat_eval") || line.starts_with("cmdstat_fcall"))
            .filter_map(|line| line.split_once(":calls=")?.1.split(',').next()?.parse::<u64>().ok())
            .sum()
    }
}

fn assert_two_layer(reply: Reply) {
    assert_eq!(reply.expect(200).json()["lock"]["mode"], "two_layer");
}

#[tokio::test]
async fn a_sale_waits_for_the_lock_of_a_python_program_and_goes_on_once_it_is_released() {
    let mut two = Neighbours::with(&[]).await;
    assert_eq!(two.python.ask("try", &two.key).await, "True");
    let pythons = two.redis.holder(&two.key).await;
    assert!(pythons.is_some());
    let before = two.scripts_run().await;
    let sale = two.sale();
    eventually(SOON, "the sale was refused and asked again", async || two.scripts_run().await >= before + 2)
        .await;
    assert_eq!(two.redis.holder(&two.key).await, pythons);
    assert!(!sale.is_finished());
    assert_eq!(two.app.client.on_hand(two.variant).await, 1_000);

    assert_eq!(two.python.ask("release", &two.key).await, "None");
    assert_two_layer(sale.await.unwrap());
    assert_eq!(two.app.client.on_hand(two.variant).await, 999);
    two.app.finish().await;
}

#[tokio::test]
async fn a_python_program_is_refused_and_waits_while_a_section_runs() {
    let mut two = Neighbours::with(&[]).await;
    let (sale, row) = two.sale_at_its_row().await;
    assert_eq!(two.python.ask("try", &two.key).await, "False");
    let holdfasts = two.redis.holder(&two.key).await;
    two.python.tell("acquire", &two.key).await;

    row.let_go().await;
    assert_two_layer(sale.await.unwrap());
    assert_eq!(two.python.answer().await, "True");
    assert_ne!(two.redis.holder(&two.key).await, holdfasts);
    assert_eq!(two.python.ask("owned", &two.key).await, "True");
    assert_eq!(two.python.ask("release", &two.key).await, "None");
    assert_two_layer(two.app.client.decrement(two.variant, 1).await);
    two.app.finish().await;
}

#[tokio::test]
async fn a_python_program_that_lost_its_key_to_a_section_can_neither_extend_nor_release_it() {
    let mut two = Neighbours::with(&[]).await;
    assert_eq!(two.python.ask("try", &two.key).await, "True");
    // As if its time had run out.
    two.redis.delete(&two.key).await;
    let (sale, row) = two.sale_at_its_row().await;
    let holdfasts = two.redis.holder(&two.key).await;
    assert!(holdfasts.is_some());

    assert_eq!(two.python.ask("owned", &two.key).await, "False");
    assert_eq!(two.python.ask("extend", &two.key).await, "LockNotOwnedError");
    assert_eq!(two.python.ask("release", &two.key).await, "LockNotOwnedError");
    assert_eq!(two.redis.holder(&two.key).await, holdfasts);
    row.let_go().await;
    assert_two_layer(sale.await.unwrap());
    two.app.finish().await;
}

#[tokio::test]
async fn a_section_that_lost_its_key_to_a_python_program_leaves_it_alone() {
    let mut two = Neighbours::with(&[]).await;
    let (sale, row) = two.sale_at_its_row().await;
    // As if its time had run out.
    two.redis.delete(&two.key).await;
    assert_eq!(two.python.ask("try", &two.key).await, "True");
    let pythons = two.redis.holder(&two.key).await;

    row.let_go().await;
    assert_two_layer(sale.await.unwrap());
    assert_eq!(two.redis.holder(&two.key).await, pythons);
    assert_eq!(two.python.ask("owned", &two.key).await, "True");
    assert_eq!(two.python.ask("release", &two.key).await, "None");
    two.app.finish().await;
}

#[tokio::test]
async fn a_program_that_trusts_the_redis_lock_alone_loses_no_update_to_holdfast() {
    const ROUNDS: i64 = 100;
    let mut two = Neighbours::with(&[("HOLDFAST_LOCK_RETRY_MS", "10")]).await;
    let pool = two.app.database.pool.clone();
    let mut holdfast_waited = 0;
    for _ in 0..ROUNDS {
        // Both want it at once; whoever is second has it to himself afterwards, so nobody starves.
        let sale = two.sale();
        assert_eq!(two.python.ask("acquire", &two.key).await, "True");
        receive_one_without_a_row_lock(&pool, two.variant).await;
        assert_eq!(two.python.ask("release", &two.key).await, "None");
        let sold = sale.await.unwrap().expect(200).json();
        assert_eq!(sold["lock"]["mode"], "two_layer");
        holdfast_waited += i64::from(sold["lock"]["wait_ms"].as_i64() > Some(0));
    }
    assert!(holdfast_waited > 0, "the two never met");
    let level = two.app.client.get(&format!("/inventory/{}", two.variant)).await.expect(200).json();
    assert_eq!((level["on_hand"].as_i64(), level["version"].as_i64()), (Some(1_000), Some(1 + 2 * ROUNDS)));
    assert_eq!(two.redis.holder(&two.key).await, None);
    two.app.finish().await;
}

/// Adds one to the stock as nobody should: reads, decides and writes in statements of their own. Whatever commits
/// between them is overwritten, or takes the movement's version.
async fn receive_one_without_a_row_lock(pool: &PgPool, variant: Uuid) {
    let (on_hand, version): (i64, i64) =
        sqlx::query_as("SELECT on_hand, version FROM stock WHERE variant_id = $1")
            .bind(variant)
            .fetch_one(pool)
            .await
            .unwrap();
    sqlx::query("UPDATE stock SET on_hand = $2, version = $3 WHERE variant_id = $1")
        .bind(variant)
        .bind(on_hand + 1)
        .bind(version + 1)
        .execute(pool)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO stock_movements (movement_id, variant_id, version, kind, delta, on_hand_after, subject,
            request_id, lock_mode, lock_wait_ms)
         VALUES (gen_random_uuid(), $1, $3, 'receipt', 1, $2, 'test', 'test', 'two_layer', 0)",
    )
    .bind(variant)
    .bind(on_hand + 1)
    .bind(version + 1)
    .execute(pool)
    .await
    .unwrap();
}
