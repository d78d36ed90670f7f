//! The alerts and the dashboard speak of what is told, and operators are told of the alerts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hyper::Method;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::SOON;
use crate::support::{Client, Scrape, TestApp, eventually};

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Where `make tools` puts it, unless there is another.
fn promtool() -> PathBuf {
    let named = std::env::var_os("HOLDFAST_TEST_PROMTOOL").map(PathBuf::from);
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/promtool");
    named.into_iter().chain([ours]).find(|path| path.exists()).unwrap_or_else(|| "promtool".into())
}

/// Runs it in `deploy`, with something to read.
async fn check(args: &[&str], input: &[u8]) {
    let mut child = Command::new(promtool())
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("promtool is not there: run `make tools`");
    let mut stdin = child.stdin.take().unwrap();
    // What does not read its input may end before it is written.
    let _ended = stdin.write_all(input).await;
    drop(stdin);
    let ended = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "promtool {args:?}: {said}");
}

/// A service that has done a bit of everything that begins to be told only once it is done.
async fn lived_in() -> TestApp {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(5).await;
    app.client.decrement(variant, 1).await.expect(200);
    app
}

fn names_in(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_word(c)).filter(|word| word.starts_with("holdfast_"));
    words.map(str::to_owned).collect()
}

async fn told(client: &Client) -> BTreeSet<String> {
    let scrape = Scrape::of(client).await;
    let name = |sample: &String| sample.split('{').next().unwrap_or_default().to_owned();
    scrape.samples.keys().map(name).chain(scrape.types.into_keys()).collect()
}

#[tokio::test]
async fn every_metric_that_rules_and_dashboard_name_is_told() {
    let app = lived_in().await;
    let set = async |change: &str| {
        sqlx::query(&format!("UPDATE stock SET on_hand = on_hand {change}"))
            .execute(&app.database.pool)
            .await
            .unwrap()
    };
    set("+ 1").await;
    app.client.get("/inventory/audit").await.expect(200);
    eventually(SOON, "the verdict is told", async || Scrape::of(&app.client).await.get("audit_ok") == 0.0)
        .await;
    set("- 1").await;
    let told = told(&app.client).await;
    for name in ["deploy/alerts.yml", "deploy/alerts_test.yml", "deploy/grafana-dashboard.json"] {
        let named = names_in(&file(name));
        assert!(named.len() > 10, "{name}");
        let missing: Vec<_> = named.difference(&told).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
    app.finish().await;
}

#[test]
fn every_alert_has_its_tests_and_its_paragraph() {
    let (rules, tests, runbook) =
        (file("deploy/alerts.yml"), file("deploy/alerts_test.yml"), file("docs/OPERATIONS.md"));
    let alerts: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    for alert in &alerts {
        for wanted in [format!("- name: {alert} fires\n"), format!("- name: {alert} keeps quiet\n")] {
            assert!(tests.contains(&wanted), "{wanted}");
        }
        let link = format!("runbook_url: docs/OPERATIONS.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "{link}");
        let (_, paragraph) = runbook.split_once(&format!("\n### {alert}\n")).expect(alert);
        let paragraph = paragraph.split("\n#").next().unwrap_or_default().trim();
        assert!(paragraph.len() > 80, "{alert}: {paragraph}");
    }
    let headed: BTreeSet<_> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### ").filter(|name| name.starts_with("Holdfast")))
        .collect();
    assert_eq!(alerts, headed);
}

#[test]
fn every_panel_of_the_dashboard_asks_something_and_says_what() {
    let dashboard: serde_json::Value = serde_json::from_str(&file("deploy/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<_> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    let wanted = "Mode Requests Locks Sections Pool Events Webhooks Audit";
    assert!(
        wanted.split(' ').all(|row| rows.contains(&row)) && rows.contains(&"Counts and invoices"),
        "{rows:?}"
    );
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty());
        let asks = panel["targets"].as_array().is_some_and(|targets| !targets.is_empty());
        assert!(asks || panel["type"] == "row", "{panel}");
    }
}

#[tokio::test]
async fn prometheus_reads_the_rules_the_settings_and_what_is_told() {
    check(&["check", "rules", "alerts.yml"], b"").await;
    check(&["check", "config", "--syntax-only", "prometheus.yml"], b"").await;
    check(&["test", "rules", "alerts_test.yml"], b"").await;
    let app = lived_in().await;
    let plain = app.client.send(Method::GET, "/metrics", &[("accept", "text/plain")], "").await.unwrap();
    check(&["check", "metrics"], &plain.expect(200).bytes).await;
    app.finish().await;
}
