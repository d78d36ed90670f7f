//! The servers themselves, started for real, and what happens to them when their owner or they are killed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};
use sqlx::{Connection, PgConnection};

use super::*;

/// Longer than any answer of a server that is not held up, shorter than anyone wants to wait for one that is.
const HELD_UP: Duration = Duration::from_millis(700);

async fn one(url: &str, query: &str) -> Result<String> {
    let mut connection = PgConnection::connect(url).await?;
    let answer = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(answer)
}

async fn run(url: &str, statement: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query(statement).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

async fn ping(url: &str) -> Result<String> {
    let mut connection = ::redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    Ok(::redis::cmd("PING").query_async(&mut connection).await?)
}

/// A server whose owner was killed: started by nobody, so to speak.
fn orphaned<T>(server: T) -> std::mem::ManuallyDrop<T> {
    std::mem::ManuallyDrop::new(server)
}

#[tokio::test]
async fn a_kept_database_keeps_what_was_written_and_never_runs_without_fsync() {
    let folder = TempFolder::new().unwrap();
    let options = Options::kept(folder.path().join("postgres"));
    let mut first = Postgres::start(&options).await.unwrap();
    run(&first.url(), "CREATE TABLE kept AS SELECT 'still here' AS word").await.unwrap();
    first.stop().await.unwrap();
    drop(first);

    let second = Postgres::start(&options).await.unwrap();
    assert_eq!(one(&second.url(), "SELECT word FROM kept").await.unwrap(), "still here");
    assert_eq!(one(&second.url(), "SHOW fsync").await.unwrap(), "on");
    let mode = fs::metadata(folder.path().join("postgres")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn a_killed_database_comes_back_at_the_same_address_with_all_that_was_committed() {
    let folder = TempFolder::new().unwrap();
    let options = Options::throwaway(folder.path().join("postgres")).on_tcp().set("max_connections", "40");
    let mut postgres = Postgres::start(&options).await.unwrap();
    let url = postgres.url();
    assert_eq!(one(&url, "SHOW max_connections").await.unwrap(), "40");
    run(&url, "CREATE TABLE kept AS SELECT 'committed' AS word").await.unwrap();
    let mut idle = PgConnection::connect(&url).await.unwrap();
    let children = processes::children_of(Pid::from_raw(postgres.pid()));
    assert!(children.len() > 3, "{children:?}");

    postgres.kill().await.unwrap();
    assert!(children.iter().all(|child| !processes::alive(*child)));
    assert!(PgConnection::connect(&url).await.is_err());
    postgres.restart().await.unwrap();

    assert_eq!(postgres.url(), url);
    assert_eq!(one(&url, "SELECT word FROM kept").await.unwrap(), "committed");
    assert!(idle.ping().await.is_err());
    postgres.stop_immediately().await.unwrap();
    postgres.restart().await.unwrap();
    assert_eq!(one(&url, "SELECT word FROM kept").await.unwrap(), "committed");
}

#[tokio::test]
async fn a_paused_database_hangs_and_goes_on() {
    let folder = TempFolder::new().unwrap();
    let mut postgres = Postgres::start(&Options::throwaway(folder.path().join("postgres"))).await.unwrap();
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    postgres.pause();
    let mut asked = Box::pin(sqlx::query("SELECT 1").execute(&mut connection));
    assert!(tokio::time::timeout(HELD_UP, &mut asked).await.is_err());
    postgres.resume();
    asked.await.unwrap();
    postgres.pause();
    postgres.kill().await.unwrap();
}

#[tokio::test]
async fn redis_is_killed_paused_and_restarted_at_the_same_address() {
    for tcp in [false, true] {
        let folder = TempFolder::new().unwrap();
        let options = Options { tcp, ..Options::throwaway(folder.path().join("redis")) };
        let mut redis = Redis::start(&options).await.unwrap();
        let url = redis.url();
        assert_eq!(ping(&url).await.unwrap(), "PONG");
        redis.pause();
        assert!(tokio::time::timeout(HELD_UP, ping(&url)).await.is_err());
        redis.resume();
        assert_eq!(ping(&url).await.unwrap(), "PONG");
        redis.kill().await.unwrap();
        assert!(ping(&url).await.is_err());
        redis.restart().await.unwrap();
        assert_eq!((redis.url(), ping(&url).await.unwrap()), (url, "PONG".to_owned()));
    }
}

#[tokio::test]
async fn dropping_a_server_ends_it() {
    let folder = TempFolder::new().unwrap();
    let postgres = Postgres::start(&Options::throwaway(folder.path().join("postgres"))).await.unwrap();
    let redis = Redis::start(&Options::throwaway(folder.path().join("redis"))).await.unwrap();
    let pids = [postgres.pid(), redis.pid()].map(Pid::from_raw);
    drop((postgres, redis));
    assert!(pids.iter().all(|pid| !processes::alive(*pid)));
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_the_number_of_its_owner() {
    let folder = TempFolder::new().unwrap();
    let options = Options::throwaway(folder.path().join("redis"));
    let _first = Redis::start(&options).await.unwrap();
    let refused = Redis::start(&options).await.unwrap_err().to_string();
    let owner = format!("already running, started by process {}:", std::process::id());
    assert!(refused.contains(&owner), "{refused}");
}

#[tokio::test]
async fn orphans_are_stopped_and_their_folder_is_taken_over() {
    let folder = TempFolder::new().unwrap();
    let claimed = Options::throwaway(folder.path().join("claimed"));
    let mut postgres = orphaned(Postgres::start(&claimed).await.unwrap());
    let mut redis = orphaned(Redis::start(&Options::throwaway(folder.path().join("also"))).await.unwrap());
    // A killed owner has no claims any more; here, where the owner lives on, the folders move from under theirs.
    fs::remove_file(folder.path().join("claimed/claim")).unwrap();
    fs::remove_file(folder.path().join("also/claim")).unwrap();

    let started = Instant::now();
    let _postgres = Postgres::start(&claimed).await.unwrap();
    let _redis = Redis::start(&Options::throwaway(folder.path().join("also"))).await.unwrap();
    assert!(started.elapsed() < child::STOP_LIMIT);
    // They are still children of this process, and ended: collecting them succeeds at once.
    postgres.stop().await.unwrap();
    redis.stop().await.unwrap();
}

#[tokio::test]
async fn a_number_that_now_belongs_to_another_process_is_left_alone() {
    let folder = TempFolder::new().unwrap();
    let options = Options::throwaway(folder.path().join("postgres"));
    let mut postgres = Postgres::start(&options).await.unwrap();
    postgres.kill().await.unwrap();
    drop(postgres);
    let mut bystander = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
    let pid_file = options.folder.join("data/postmaster.pid");
    fs::write(&pid_file, format!("{}\n", bystander.id().unwrap())).unwrap();

    let postgres = Postgres::start(&options).await.unwrap();
    assert!(bystander.try_wait().unwrap().is_none());
    assert_eq!(one(&postgres.url(), "SELECT 'up'").await.unwrap(), "up");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let folder = TempFolder::new().unwrap();
    let long = folder.path().join("long".repeat(30));
    let redis = Redis::start(&Options::throwaway(&long)).await.unwrap();
    assert_eq!(ping(&redis.url()).await.unwrap(), "PONG");
    assert!(!redis.url().contains("longlong"));
}

#[tokio::test]
async fn a_server_that_fails_shows_the_end_of_its_log() {
    let folder = TempFolder::new().unwrap();
    let options = Options::throwaway(folder.path().join("postgres")).set("shared_buffers", "none");
    let failed = format!("{:#}", Postgres::start(&options).await.unwrap_err());
    assert!(failed.contains("invalid value for parameter \"shared_buffers\""), "{failed}");
}

#[tokio::test]
async fn signals_reach_only_what_was_checked() {
    let folder = TempFolder::new().unwrap();
    let sleep = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
    let pid = i32::try_from(sleep.id().unwrap()).unwrap();
    assert!(processes::running(pid, "postgres", folder.path()).is_none());
    assert!(processes::running(pid, "sleep", folder.path()).is_none());
    assert!(processes::alive(Pid::from_raw(pid)));
    processes::send(Pid::from_raw(pid), Signal::SIGCONT);
}

#[test]
fn paths_survive_the_way_through_a_url() {
    assert_eq!(in_url(Path::new("/tmp/a b/é?")), "/tmp/a%20b/%C3%A9%3F");
}
