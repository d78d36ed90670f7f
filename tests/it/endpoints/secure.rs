//! Webhooks by https: whoever can't show a certificate for its name, by whom we trust, is told nothing.

use rcgen::date_time_ymd;

use super::{Receiver, deliver_until, deliveries, register};
use crate::support::{Certificate, Replica, TestApp, TestDatabase, eventually};

const HERE: &[&str] = &["localhost", "127.0.0.1"];

async fn trusting(authority: &str) -> TestApp {
    let settings = [("HOLDFAST_WEBHOOK_ALLOW_PRIVATE", "true"), ("HOLDFAST_WEBHOOK_CA_FILE", authority)];
    TestApp::with(TestDatabase::fresh().await, None, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_by_https_is_told_by_name_or_address_if_its_authority_is_trusted() {
    let certificate = Certificate::new();
    let app = trusting(&certificate.authority()).await;
    let receiver = Receiver::with_tls(&certificate).await;
    for host in HERE {
        register(&app, &receiver.secure_url(host), &["stock.changed"]).await;
    }
    app.client.variant(1).await;
    deliver_until(&app, "both are told", async || receiver.sent().len() == 2).await;
    assert_eq!(app.count("webhook_deliveries WHERE state = 'delivered'").await, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_or_name_or_time_is_refused_and_nothing_is_told() {
    let trusted = Certificate::new();
    let strange = Certificate::new();
    let misnamed = Certificate::of(&["elsewhere.example"], |_| {});
    let expired = Certificate::of(HERE, |params| params.not_after = date_time_ymd(2020, 1, 1));
    // Each but the strange one is trusted, as far as its authority goes.
    let bundle = std::env::temp_dir().join(crate::support::unique("authorities"));
    let texts = [&trusted, &misnamed, &expired].map(|one| std::fs::read_to_string(one.authority()).unwrap());
    std::fs::write(&bundle, texts.concat()).unwrap();
    let app = trusting(bundle.to_str().unwrap()).await;
    std::fs::remove_file(bundle).unwrap();
    for (certificate, why) in
        [(&strange, "UnknownIssuer"), (&misnamed, "not valid for name"), (&expired, "xpired")]
    {
        let receiver = Receiver::with_tls(certificate).await;
        let endpoint = register(&app, &receiver.secure_url("localhost"), &["stock.changed"]).await;
        app.client.variant(1).await;
        deliver_until(&app, "it was tried", async || {
            deliveries(&app, &endpoint).await.iter().any(|one| one["attempts"] == 1)
        })
        .await;
        let error = deliveries(&app, &endpoint).await[0]["last_error"].clone();
        assert!(error.as_str().unwrap().contains(why), "{error}");
        assert!(receiver.sent().is_empty());
    }
    app.finish().await;
}

/// What the system trusts is what the usual variable says.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_trusts_whom_its_environment_trusts() {
    let certificate = Certificate::new();
    let app = TestApp::without_redis().await;
    let receiver = Receiver::with_tls(&certificate).await;
    let (name, file) = certificate.trusted();
    let settings = [("HOLDFAST_WEBHOOK_ALLOW_PRIVATE", "true"), (name, file.as_str())];
    let replica = Replica::start(&app.database.url, None, &settings).await;
    let body = serde_json::json!({"url": receiver.secure_url("localhost")});
    replica.client.post("/webhook-endpoints", &body).await.expect(201);
    replica.client.variant(1).await;
    // One of the two delivers, and the one in this process does not.
    app.app.stopping.cancel();
    eventually(std::time::Duration::from_secs(60), "it is told", async || receiver.sent().len() == 1).await;
    assert!(replica.terminate().await);
    app.finish().await;
}
