//! Schemathesis reads the description and makes requests of it, good ones and bad ones, one by one and in chains.
//!
//! No answer may be a 5xx, of a status, media type or shape that is not described, or an acceptance of what the
//! description forbids; and whatever was asked for, the books agree afterwards. With `HOLDFAST_CAMPAIGN=long` it makes
//! at least 20,000 requests.

use std::path::PathBuf;

use tokio::process::Command;

use crate::support::campaign::{amount, report};
use crate::support::{ADMIN_KEY, TestApp, TestDatabase, shared_redis, unique};

/// What is looked at in each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
     response_headers_conformance,response_schema_conformance,negative_data_rejection,missing_required_header,\
     unsupported_method,ignored_auth";
/// How many requests the long form makes at least.
const MANY: usize = 20_000;

/// The program that `make tools` sets up, beside its Python.
fn schemathesis() -> PathBuf {
    let python = std::env::var_os("HOLDFAST_TEST_PYTHON").map(PathBuf::from);
    let python = python
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python")));
    python.with_file_name("schemathesis")
}

/// Which phases, and how many requests of a call in each. Of chains it is how many begin.
fn phases() -> &'static [(&'static str, usize)] {
    if amount(0, 1) == 0 {
        &[("fuzzing", 1)]
    } else {
        &[("examples,coverage,fuzzing", 220), ("stateful", 10)]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_is_answered_as_described() {
    // A user's batches of counts are counted, and none of these is to be told just that.
    let settings = [("HOLDFAST_SYNC_BATCHES_PER_MINUTE", "1000000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &settings).await;
    let mut made = 0;
    for (phases, examples) in phases() {
        made += fuzz(&app, phases, *examples).await;
    }
    assert!(made >= amount(84, MANY), "only {made} requests were made");
    app.finish().await;
}

/// Makes requests, and fails if one was answered wrongly. Tells how many there were.
async fn fuzz(app: &TestApp, phases: &str, examples: usize) -> usize {
    // It writes where it stands.
    let folder = std::env::temp_dir().join(unique("fuzz"));
    std::fs::create_dir(&folder).unwrap();
    let mut command = Command::new(schemathesis());
    command
        .args(["run", "--no-color", "--generation-database", "none", "--seed", "20261127", "--workers", "1"])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}"), "--checks", CHECKS])
        .args(["--phases", phases, "--max-examples", &examples.to_string(), "--continue-on-failure"])
        // It has no end.
        .args(["--exclude-operation-id", "events.stream"])
        // It can't write CSV.
        .args(["--exclude-operation-id", "racks.import", "--exclude-operation-id", "sync.import"])
        .arg(format!("http://{}/openapi.json", app.client.address))
        .current_dir(&folder)
        .kill_on_drop(true);
    let output = command.output().await.expect("there is no Schemathesis: run `make tools`");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let line =
        said.lines().find(|line| line.contains(" generated, ")).expect("it says how many there were").trim();
    report(&format!("{phases}: {line}"));
    std::fs::remove_dir_all(&folder).unwrap();
    line.split(' ').next().unwrap().replace(',', "").parse().unwrap()
}
