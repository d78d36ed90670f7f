//! Workers that are processes of their own, killed and paused by the operating system in the middle of what they do:
//! every file is finished once, by whoever has its newest claim.
//!
//! A test hands the files out, as the queue of a shop would, and every finish is noted in the database by a trigger,
//! where nothing keeps a file from being there twice.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::in_all_modes;
use super::markers::start;
use crate::support::campaign::{amount, report};
use crate::support::eventually::eventually;
use crate::support::link::draw;
use crate::support::{Client, Reply, unique};

/// Where the service is, for a worker.
const ADDRESS: &str = "HOLDFAST_TEST_WORKER_AT";
/// What a worker says begins with this; all else is of the test program it is.
const SAYS: &str = "worker: ";
/// What it says of a beat.
const BEATEN: &str = "beaten";
/// However slow the machine is.
const SOON: Duration = Duration::from_secs(60);
/// So often a worker says that it goes on before it finishes.
const BEATS: usize = 3;

/// A worker's own program: it does what it is told, line by line, and says what came of it.
#[tokio::test]
#[ignore = "a worker of the campaign, which starts it as a process of its own"]
async fn a_worker() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let client = Client::admin(address.parse().unwrap());
    let mut claim = Value::Null;
    for told in std::io::stdin().lines() {
        let told = told.unwrap();
        let (reply, is_repeated) = match told.split_once(' ') {
            Some(("start", file)) => {
                let started = start(&client, file).await;
                claim = started.json();
                (started, false)
            }
            _ if told == "work" => {
                for _ in 0..BEATS {
                    // One that is told that it has lost the file would be wise to end. This one is not.
                    of_claim(&client, &claim, "beat", json!({})).await;
                    say(&BEATEN.into());
                }
                of_claim(&client, &claim, "finish", json!({})).await
            }
            _ => of_claim(&client, &claim, "fail", json!({"reason": "unreadable"})).await,
        };
        let (status, body) = (reply.status.as_u16(), reply.json());
        let (code, fence) = (&body["code"], &body["fence"]);
        say(&json!({"status": status, "code": code, "fence": fence, "is_repeated": is_repeated}));
    }
}

/// So often a worker asks anew where it was hung up on. It is once for each time that it is stopped, and it is stopped once.
const ASKED_MAX: usize = 10;

/// Asks, anew if the connection fails before there is an answer: whoever is stopped between connecting and asking finds
/// that the service did not wait for that. Whether it had to tells that what it wants may have been done before.
async fn of_claim(client: &Client, claim: &Value, verb: &str, mut body: Value) -> (Reply, bool) {
    let path = format!("/invoices/processing/{}/{verb}", claim["marker"].as_str().unwrap());
    body["fence"] = claim["fence"].clone();
    for asked in 1..ASKED_MAX {
        if let Ok(reply) = client.try_post(&path, &body, None).await {
            return (reply, asked > 1);
        }
    }
    (client.post(&path, &body).await, true)
}

/// Whether a worker has ended its work, by what it heard at last or by what it asked before and did not hear of.
fn has_ended(heard: &Value) -> bool {
    heard["status"] == 200 || heard["is_repeated"] == true && heard["code"] == "marker_lost"
}

#[expect(clippy::print_stdout, reason = "that is how a worker speaks")]
fn say(what: &Value) {
    println!("{SAYS}{what}");
}

/// A worker, as the test has it. Killed when dropped.
struct Worker {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    client: Client,
}

impl Worker {
    fn of(client: &Client) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "invoices::workers::a_worker", "--ignored", "--nocapture"])
            .env_clear()
            .env(ADDRESS, client.address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output).lines(), client: client.clone() }
    }

    async fn tell(&mut self, words: &str) {
        self.input.write_all(format!("{words}\n").as_bytes()).await.unwrap();
    }

    /// What came of what it was told.
    async fn hear(&mut self) -> Value {
        loop {
            let said = self.listen().await;
            if said != BEATEN {
                return said;
            }
        }
    }

    async fn listen(&mut self) -> Value {
        loop {
            let line = self.output.next_line().await.unwrap().expect("the worker is there");
            if let Some((_, said)) = line.split_once(SAYS) {
                return serde_json::from_str(said).unwrap();
            }
        }
    }

    /// Lets it come so far with its work; after its last beat it finishes.
    async fn until_beaten(&mut self, times: usize) {
        for _ in 0..times {
            assert_eq!(self.listen().await, BEATEN);
        }
    }

    async fn ask(&mut self, words: &str) -> Value {
        self.tell(words).await;
        self.hear().await
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).expect("the worker has ended");
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// SIGKILL, and another one in its place.
    async fn replace(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().await.unwrap();
        *self = Self::of(&self.client);
    }

    /// Lets it go home.
    async fn end(self) {
        let Self { mut child, input, .. } = self;
        drop(input);
        assert!(child.wait().await.unwrap().success());
    }
}

/// Notes each finish, whoever it is by.
async fn note_finishes(pool: &PgPool) {
    for statement in [
        "CREATE TABLE finishes (name text NOT NULL, fence bigint NOT NULL)",
        "CREATE FUNCTION note_finish() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO finishes VALUES (NEW.name, NEW.fence); RETURN NEW; END $$",
        "CREATE TRIGGER finishes_are_noted AFTER INSERT OR UPDATE ON leases
         FOR EACH ROW WHEN (NEW.ending = 'finished') EXECUTE FUNCTION note_finish()",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
}

/// Under which fences a file was finished.
async fn finishes(pool: &PgPool, file: &str) -> Vec<i64> {
    let noted = "SELECT fence FROM finishes WHERE name = $1 ORDER BY fence";
    sqlx::query_scalar(noted).bind(format!("processing:acc:{file}")).fetch_all(pool).await.unwrap()
}

/// The time of whoever is at the file is over, if it has not ended.
async fn lapse(pool: &PgPool, file: &str) {
    let over = "UPDATE leases SET expires_at = clock_timestamp() - interval '1 millisecond'
                WHERE name = $1 AND ended_at IS NULL";
    sqlx::query(over).bind(format!("processing:acc:{file}")).execute(pool).await.unwrap();
}

/// What is done to a worker that has begun.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Works,
    IsKilled,
    IsPaused,
}

/// Two workers want a file. One has it, and what happens to it happens while it works; if it does not come back in
/// time, the other one takes over. True if it did.
async fn work_off(pool: &PgPool, pair: &mut [Worker; 2], file: &str, fate: Fate) -> bool {
    for worker in pair.iter_mut() {
        worker.tell(&format!("start {file}")).await;
    }
    let heard = [pair[0].hear().await, pair[1].hear().await];
    let first = usize::from(heard[0]["status"] != 201);
    let other = &heard[1 - first];
    assert_eq!(
        (&heard[first]["status"], &other["code"]),
        (&json!(201), &json!("already_processing")),
        "{heard:?}"
    );
    let [one, two] = pair;
    let (holder, heir) = if first == 0 { (one, two) } else { (two, one) };
    let fence = heard[first]["fence"].as_i64().unwrap();
    holder.tell("work").await;
    if fate != Fate::Works {
        holder.until_beaten(draw(BEATS as u64 + 1) as usize).await;
    }
    match fate {
        Fate::Works => {
            let heard = holder.hear().await;
            assert!(has_ended(&heard), "{heard}");
            assert_eq!(finishes(pool, file).await, [fence]);
            return false;
        }
        Fate::IsKilled => holder.replace().await,
        Fate::IsPaused => holder.signal(Signal::SIGSTOP),
    }
    // A beat may still be under way of whoever is gone.
    let mut claim = Value::Null;
    eventually(SOON, "the heir has the file", async || {
        lapse(pool, file).await;
        claim = heir.ask(&format!("start {file}")).await;
        claim["status"] == 201
    })
    .await;
    // Now that it is the heir's, nobody else finishes it; whether somebody has can be seen.
    let before = finishes(pool, file).await;
    let is_taken_over = before.is_empty();
    heir.tell(if is_taken_over { "work" } else { "leave" }).await;
    let wakes_early = draw(2) == 0;
    if fate == Fate::IsPaused && wakes_early {
        holder.signal(Signal::SIGCONT);
    }
    let heard = heir.hear().await;
    assert!(has_ended(&heard), "{heard}");
    if fate == Fate::IsPaused {
        if !wakes_early {
            holder.signal(Signal::SIGCONT);
        }
        let late = holder.hear().await;
        let is_as_it_must = if is_taken_over { late["code"] == "marker_lost" } else { has_ended(&late) };
        assert!(is_as_it_must, "{late}");
    }
    let once = if is_taken_over { claim["fence"].as_i64().unwrap() } else { fence };
    assert_eq!(finishes(pool, file).await, [once]);
    is_taken_over
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_finished_once_by_processes_that_are_killed_and_paused() {
    let (lanes, files) = (2, amount(3, 500));
    in_all_modes(async |app, peer| {
        note_finishes(&app.database.pool).await;
        let clients = [app.client.clone(), peer.client.clone()];
        let lane = async |run: String| {
            let mut pair = clients.each_ref().map(Worker::of);
            let mut taken_over = 0;
            for n in 0..files {
                let (file, fate) = (format!("{run}-{n}"), [Fate::IsKilled, Fate::IsPaused, Fate::Works][n % 3]);
                taken_over += usize::from(work_off(&app.database.pool, &mut pair, &file, fate).await);
            }
            for worker in pair {
                worker.end().await;
            }
            taken_over
        };
        let taken_over = join_all((0..lanes).map(|_| lane(unique("run")))).await;
        let all = "SELECT count(*), count(DISTINCT name) FROM finishes";
        let all: (i64, i64) = sqlx::query_as(all).fetch_one(&app.database.pool).await.unwrap();
        assert_eq!(all, ((lanes * files) as i64, (lanes * files) as i64));
        report(&format!(
            "{} files and worker processes of which two in three were killed or paused: each was finished once, {} of them \
             by a second worker",
            lanes * files,
            taken_over.iter().sum::<usize>()
        ));
    })
    .await;
}
