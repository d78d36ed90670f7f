//! Who may send webhooks: whoever knows a secret, and signed with it just now.

use std::process::Stdio;

use serde_json::json;

use super::{by_id, told};
use crate::support::sender::{SECRET, WEBHOOKS, cancelled, in_seconds, standard, stripe};
use crate::support::{Replica, Reply, Sender, TestApp, TestDatabase, unique};

const OTHER: &str = "whsec_cGxlYXNlLCBub3QgdGhpcyBzZWNyZXQh";
const BODY_MAX: usize = 1024 * 1024;

/// Signed with `secret` at `timestamp`, over `signed`, and sent with `body`.
async fn send(sender: &Sender, secret: &str, timestamp: &str, signed: &[u8], body: &[u8]) -> Reply {
    let signature = standard(secret, "event", timestamp, signed);
    let headers =
        [("webhook-id", "event"), ("webhook-timestamp", timestamp), ("webhook-signature", &signature)];
    sender.send_as(&headers, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_now_by_who_knows_a_secret_is_refused_and_nothing_is_written() {
    let app = TestApp::without_redis().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(10).await);
    let order = app.client.order("ann", &unique("k"), &[(id, 4)]).await.expect(201).json();
    let body = cancelled(&by_id(&order)).to_string();
    let body = body.as_bytes();
    let before = app.everything().await;
    let now = in_seconds(0);
    let good = standard(SECRET, "event", &now, body);
    let header = |name, value| (name, value);
    let all = [
        header("webhook-id", "event"),
        header("webhook-timestamp", now.as_str()),
        header("webhook-signature", good.as_str()),
    ];
    for left_out in 0..3 {
        let mut headers = all.to_vec();
        headers.remove(left_out);
        assert_eq!(sender.send_as(&headers, body).await.expect(401).code(), "bad_signature");
    }
    for (place, value) in [
        (0, "other"),
        (0, ""),
        (1, "0"),
        (1, "now"),
        (1, ""),
        (2, ""),
        (2, "v1"),
        (2, "v1,"),
        (2, "v1,AAAA"),
        (2, &good[3..]),
        (2, &good[..good.len() - 2]),
        (2, &good.replacen("v1", "v2", 1)),
        (2, &good.to_lowercase()),
        (2, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ] {
        let mut headers = all;
        headers[place].1 = value;
        assert_eq!(sender.send_as(&headers, body).await.expect(401).code(), "bad_signature", "{value}");
    }
    let truncated = &body[..body.len() - 1];
    for (secret, sent) in [(OTHER, body), (SECRET, truncated), (SECRET, b"{}"), (SECRET, b"")] {
        let forged = send(&sender, secret, &now, body, sent).await;
        assert_eq!(forged.expect(401).code(), "bad_signature");
    }
    let as_stripe = stripe(OTHER, &now, body);
    for forged in [as_stripe.as_str(), "t=1", "v1=00", "", &stripe(SECRET, &now, body).replace("v1", "v0")] {
        let reply = sender.send_as(&[("stripe-signature", forged)], body).await;
        assert_eq!(reply.expect(401).code(), "bad_signature");
    }
    for odd in ["1e9", "-9223372036854775809", "9223372036854775808", "1.5"] {
        assert_eq!(send(&sender, SECRET, odd, body, body).await.expect(401).code(), "bad_signature", "{odd}");
    }
    for far in [&in_seconds(-310), &in_seconds(310), "0", "-1", "9223372036854775807", "-9223372036854775808"]
    {
        assert_eq!(send(&sender, SECRET, far, body, body).await.expect(401).code(), "stale_webhook", "{far}");
        let reply = sender.send_as(&[("stripe-signature", &stripe(SECRET, far, body))], body).await;
        assert_eq!(reply.expect(401).code(), "stale_webhook", "{far}");
    }
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_well_signed_and_makes_no_sense_is_refused_and_nothing_is_written() {
    let app = TestApp::without_redis().await;
    let sender = Sender::to(&app.client);
    let before = app.everything().await;
    let large = format!("{}{}", cancelled(&json!({"order_id": null})), " ".repeat(BODY_MAX));
    for (body, status, code) in [
        (&b"{\"type\":\"order.cancelled\",\"data\":{\"user_id\":\"\xff\"}}"[..], 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b"", 400, "malformed_json"),
        (b"{\"type\":\"order.cancelled\"", 400, "malformed_json"),
        (b"{\"type\":\"order.cancelled\",\"type\":\"x\"}", 422, "validation_failed"),
        (b"null", 422, "validation_failed"),
        (b"[]", 422, "validation_failed"),
        (large.as_bytes(), 413, "body_too_large"),
    ] {
        let reply = send(&sender, SECRET, &in_seconds(0), body, body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code));
    }
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_may_be_some_minutes_old_or_early_and_as_large_as_any_body() {
    let app = TestApp::without_redis().await;
    let sender = Sender::to(&app.client);
    for (later, user) in [(-290, "ann"), (290, "bob")] {
        let body = cancelled(&super::by_key(user, "k")).to_string();
        let body = format!("{body}{}", " ".repeat(BODY_MAX - body.len()));
        let timestamp = in_seconds(later);
        let signature = standard(SECRET, user, &timestamp, body.as_bytes());
        let headers = [
            ("webhook-id", user),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", &signature),
        ];
        let reply = sender.send_as(&headers, body.as_bytes()).await;
        assert_eq!(told(&reply)["result"], "waiting_for_order", "{later}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_secrets_are_changed_the_old_and_the_new_are_good() {
    let both = format!("{OTHER}, {SECRET}");
    for (set, good) in [(both.as_str(), [true, true]), (OTHER, [false, true]), (SECRET, [true, false])] {
        let settings = [(WEBHOOKS.0, set)];
        let app = TestApp::with(TestDatabase::fresh().await, None, &settings).await;
        let sender = Sender::to(&app.client);
        let body = cancelled(&super::by_key("ann", "k")).to_string();
        let body = body.as_bytes();
        for (secret, good) in [SECRET, OTHER].into_iter().zip(good) {
            let status = if good { 200 } else { 401 };
            send(&sender, secret, &in_seconds(0), body, body).await.expect(status);
            // Both sign, each on a line of its own.
            let now = in_seconds(0);
            let signatures = [OTHER, SECRET].map(|secret| standard(secret, "event", &now, body));
            let lines = signatures.iter().map(|signature| ("webhook-signature", signature.as_str()));
            let headers: Vec<_> =
                [("webhook-id", "event"), ("webhook-timestamp", &now)].into_iter().chain(lines).collect();
            sender.send_as(&headers, body).await.expect(200);
            let stripes = body.strip_suffix(b"}").unwrap();
            let stripes = [stripes, b",\"id\":\"evt\"}"].concat();
            let signature = stripe(secret, &in_seconds(0), &stripes);
            sender.send_as(&[("stripe-signature", &signature)], &stripes).await.expect(status);
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_there_is_no_such_path() {
    let app = TestApp::with(TestDatabase::fresh().await, None, &[(WEBHOOKS.0, "")]).await;
    let reply = Sender::to(&app.client).cancel("event", &super::by_key("ann", "k")).await;
    assert_eq!(reply.expect(404).code(), "not_found");
    assert_eq!(app.everything().await, [0; 9]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_nothing_that_a_forger_could_use() {
    let app = TestApp::without_redis().await;
    let log = std::env::temp_dir().join(unique("holdfast-log"));
    let file = std::fs::File::create(&log).unwrap();
    let settings = [WEBHOOKS, ("HOLDFAST_LOG", "trace,hyper=info,sqlx=trace")];
    let replica = Replica::logging_to(Stdio::from(file), &app.database.url, None, &settings).await;
    let sender = Sender::to(&replica.client);
    let body = cancelled(&super::by_key("sesame", "sesame-key")).to_string();
    let (now, old) = (in_seconds(0), in_seconds(-1_000));
    let signatures = [(SECRET, &now), (SECRET, &old), (OTHER, &now)];
    for (secret, timestamp) in signatures {
        send(&sender, secret, timestamp, body.as_bytes(), body.as_bytes()).await;
    }
    send(&sender, SECRET, &now, b"sesame", b"sesame").await.expect(400);
    assert!(replica.terminate().await);
    let told = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert!(
        told.contains("stale_webhook") && told.contains("bad_signature"),
        "the log has the answers: {told}"
    );
    for (secret, timestamp) in signatures {
        let signature = standard(secret, "event", timestamp, body.as_bytes());
        for hidden in [&secret["whsec_".len()..], &signature[3..], "sesame"] {
            assert!(!told.contains(hidden), "{hidden} is in the log:\n{told}");
        }
    }
    app.finish().await;
}
