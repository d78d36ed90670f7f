//! A whole warehouse, counted by many devices while its shop sells: in the end the ledger says what is on the shelves.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::support::campaign::{amount, report};
use crate::support::{ADMIN_KEY, Replica, TestApp, TestDatabase, shared_redis, unique};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_count_by_many_devices_beside_a_sale_the_ledger_says_what_is_on_the_shelves() {
    let settings = [("HOLDFAST_SYNC_BATCHES_PER_MINUTE", "1000000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &settings).await;
    // It knows of no Redis, and knows of claims all the same.
    let without = Replica::start(&app.database.url, None, &settings).await;
    let program = Path::new(env!("CARGO_BIN_EXE_holdfast")).with_file_name("holdfast-load");
    let file = std::env::temp_dir().join(unique("warehouse"));
    let many = |few: usize, many: usize| amount(few, many).to_string();
    let output = Command::new(program)
        .args(["warehouse", "--gap", "50", "--pace", "1"])
        .args(["--target", &format!("http://{}", app.client.address)])
        .args(["--target", &format!("http://{}", without.client.address)])
        .args(["--devices", &many(6, 100), "--racks", &many(40, 600), "--positions", &many(5, 12)])
        .arg("--json")
        .arg(&file)
        .env_clear()
        .env("HOLDFAST_ADMIN_KEY", ADMIN_KEY)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said.lines().for_each(report);
    let found: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    // None of it was for nothing.
    for what in ["sales", "lost", "conflicts", "repeated"] {
        assert!(found[what].as_u64().unwrap() > 0, "{what}: {found}");
    }
    assert_eq!(found["ok"], true, "{found}");
    drop(without);
    app.finish().await;
}
