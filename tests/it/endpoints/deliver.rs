//! Deliveries: at least once, one after the other where they are about one thing, and nobody's trouble is another's.

use holdfast::endpoints::deliver::run_once;
use holdfast::endpoints::fan_out::fan_out;
use holdfast::webhooks::signature::{Secrets, Signature};
use serde_json::{Value, json};

use super::{Receiver, deliver_until, deliveries, path, register, start, time_passes};
use crate::support::{Collector, TestApp, TestDatabase, eventually, unique};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_delivered_signed_and_in_its_order() {
    let app = start().await;
    let (receiver, others) = (Receiver::start().await, Receiver::start().await);
    let endpoint = register(&app, &receiver.url(), &["stock.changed"]).await;
    register(&app, &others.url(), &["order.placed"]).await;
    let variant = app.client.variant(100).await;
    for _ in 0..5 {
        app.client.decrement(variant, 1).await.expect(200);
    }
    let order = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201).json();
    deliver_until(&app, "all are sent", async || receiver.sent().len() == 7 && others.sent().len() == 1)
        .await;
    let sent = receiver.sent();
    let versions: Vec<_> = sent.iter().map(|sent| sent.json()["data"]["version"].clone()).collect();
    assert_eq!(json!(versions), json!([1, 2, 3, 4, 5, 6, 7]));
    let secret = |endpoint: &Value| Secrets::read(endpoint["secret"].as_str()).unwrap();
    for sent in &sent {
        let signature = Signature::of(&sent.headers).unwrap();
        assert!(signature.is_good(&sent.body, &secret(&endpoint)));
        assert_eq!(sent.header("webhook-id"), sent.json()["data"]["movement_id"]);
        assert_eq!(sent.json()["type"], "stock.changed");
    }
    assert_eq!(others.sent()[0].json()["data"], order);
    // The order's story says so.
    let story = format!("/orders/{}/history", order["order_id"].as_str().unwrap());
    deliver_until(&app, "that is written down", async || {
        app.client.get(&story).await.expect(200).json()["deliveries"][0]["state"] == "delivered"
    })
    .await;
    let told = app.client.get(&story).await.json()["deliveries"].as_array().unwrap().clone();
    assert_eq!(
        (told.len(), &told[0]["type"], &told[0]["event_id"]),
        (1, &json!("order.placed"), &order["order_id"])
    );

    // For a day either secret is good.
    let rotated = app.client.post(&path(&endpoint, "/rotate"), &json!({})).await.expect(200).json();
    app.client.decrement(variant, 1).await.expect(200);
    deliver_until(&app, "one more is sent", async || receiver.sent().len() == 8).await;
    let last = &receiver.sent()[7];
    for secrets in [secret(&endpoint), secret(&rotated)] {
        assert!(Signature::of(&last.headers).unwrap().is_good(&last.body, &secrets));
    }
    let log = deliveries(&app, &endpoint).await;
    assert!(
        log.iter()
            .all(|one| one["state"] == "delivered" && one["attempts"] == 1 && one["last_status"] == 200)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_tried_again_with_the_same_event_and_nothing_overtakes_it() {
    let app = start().await;
    let (failing, well) = (Receiver::start().await, Receiver::start().await);
    let endpoint = register(&app, &failing.url(), &["stock.changed"]).await;
    register(&app, &well.url(), &["stock.changed"]).await;
    failing.answers(302);
    let variant = app.client.variant(100).await;
    app.client.decrement(variant, 1).await.expect(200);
    deliver_until(&app, "the other has both", async || well.sent().len() == 2).await;
    for status in [500, 503] {
        failing.answers(status);
        time_passes(&app).await;
        run_once(&app.app).await.unwrap();
    }
    let sent = failing.sent();
    assert_eq!(sent.iter().map(|sent| sent.status).collect::<Vec<_>>(), [302, 500, 503]);
    let first = &sent[0];
    assert!(
        sent.iter()
            .all(|sent| sent.body == first.body && sent.header("webhook-id") == first.header("webhook-id"))
    );
    let log = deliveries(&app, &endpoint).await;
    assert_eq!(
        (&log[0]["attempts"], &log[0]["last_status"], &log[1]["attempts"]),
        (&json!(3), &json!(503), &json!(0))
    );
    failing.answers(204);
    time_passes(&app).await;
    deliver_until(&app, "both are taken in the end", async || failing.sent().len() == 5).await;
    assert_eq!(failing.sent()[4].json()["data"]["version"], 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_again_and_again_is_left_alone_and_then_tried_by_one() {
    let app = start().await;
    let receiver = Receiver::start().await;
    receiver.answers(500);
    let variants = app.variants(12, 1_000).await;
    let endpoint = register(&app, &receiver.url(), &["stock.changed"]).await;
    for variant in &variants {
        app.client.decrement(*variant, 1).await.expect(200);
    }
    deliver_until(&app, "it rests", async || {
        app.client.get(&path(&endpoint, "")).await.json()["breaker"] == "open"
    })
    .await;
    let sent = receiver.sent().len();
    assert_eq!((run_once(&app.app).await.unwrap(), receiver.sent().len()), (0, sent));
    time_passes(&app).await;
    assert_eq!(run_once(&app.app).await.unwrap(), 1, "one tries the way");
    receiver.answers(200);
    time_passes(&app).await;
    assert_eq!(run_once(&app.app).await.unwrap(), 1);
    deliver_until(&app, "all are taken", async || {
        time_passes(&app).await;
        app.client.get(&path(&endpoint, "")).await.json()["pending"] == 0
    })
    .await;
    assert_eq!(app.client.get(&path(&endpoint, "")).await.json()["breaker"], "closed");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_seen_and_can_be_sent_again() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let endpoint = register(&app, &receiver.url(), &["order.placed"]).await;
    receiver.answers(500);
    let variant = app.client.variant(100).await;
    app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201);
    deliver_until(&app, "it is given up", async || {
        time_passes(&app).await;
        deliveries(&app, &endpoint).await.iter().any(|one| one["state"] == "dead")
    })
    .await;
    assert_eq!(receiver.sent().len(), 15);
    receiver.answers(200);
    let none = app.client.post(&path(&endpoint, "/replay"), &json!({"to": "2026-01-01T00:00:00Z"})).await;
    assert_eq!(none.expect(200).json(), json!({"replayed": 0, "next_cursor": null}));
    let why = "the receiver is mended";
    let dead = app.client.post(&path(&endpoint, "/replay"), &json!({"state": "dead", "reason": why})).await;
    assert_eq!(dead.expect(200).json(), json!({"replayed": 1, "next_cursor": null}));
    let kept: Vec<(i64, Option<String>, String)> =
        sqlx::query_as("SELECT replayed, reason, subject FROM delivery_replays ORDER BY replayed_at")
            .fetch_all(&app.database.pool)
            .await
            .unwrap();
    assert_eq!(kept, [(0, None, "admin".into()), (1, Some(why.into()), "admin".into())]);
    run_once(&app.app).await.unwrap();
    let sent = receiver.sent();
    assert_eq!((sent.len(), sent[15].header("webhook-id")), (16, sent[0].header("webhook-id")));
    assert_eq!(deliveries(&app, &endpoint).await[0]["state"], "delivered");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_or_is_not_there_holds_up_neither_the_shop_nor_another() {
    let app = start().await;
    let (hanging, well) = (Receiver::start().await, Receiver::start().await);
    hanging.answers(0);
    let gone = Receiver::start().await.url();
    for url in [hanging.url(), gone.clone(), well.url()] {
        register(&app, &url, &["stock.changed"]).await;
    }
    let variant = app.client.variant(100).await;
    eventually(std::time::Duration::from_secs(60), "it has come so far", async || {
        app.app.events.at().is_some_and(|at| at > 0)
    })
    .await;
    let service = app.app.clone();
    let sending = tokio::spawn(async move { while run_once(&service).await.unwrap() == 0 {} });
    eventually(std::time::Duration::from_secs(60), "one hangs", async || {
        hanging.sent().len() == 1 && well.sent().len() == 1
    })
    .await;
    // While it hangs no row is locked and no connection held.
    for _ in 0..10 {
        app.client.decrement(variant, 1).await.expect(200);
    }
    sending.await.unwrap();
    let all = app.client.get("/webhook-endpoints").await.json();
    let failures: Vec<_> =
        all["items"].as_array().unwrap().iter().map(|one| one["failures"].clone()).collect();
    assert_eq!(json!(failures), json!([1, 1, 0]));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_says_it_is_gone_is_sent_nothing_more() {
    let app = start().await;
    let receiver = Receiver::start().await;
    receiver.answers(410);
    let endpoint = register(&app, &receiver.url(), &["stock.changed"]).await;
    let variant = app.client.variant(100).await;
    deliver_until(&app, "it says so", async || receiver.sent().len() == 1).await;
    app.client.decrement(variant, 1).await.expect(200);
    time_passes(&app).await;
    assert_eq!(run_once(&app.app).await.unwrap(), 0);
    assert_eq!(app.client.get(&path(&endpoint, "")).await.json()["breaker"], "gone");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_a_private_address_is_not_sent_to() {
    let app = TestApp::with(TestDatabase::fresh().await, None, &[]).await;
    let receiver = Receiver::start().await;
    let endpoint = register(&app, "https://example.com/", &["stock.changed"]).await;
    let private = receiver.url().replace("127.0.0.1", "localhost");
    sqlx::query("UPDATE webhook_endpoints SET url = $1")
        .bind(private)
        .execute(&app.database.pool)
        .await
        .unwrap();
    app.client.variant(100).await;
    deliver_until(&app, "it was tried", async || {
        deliveries(&app, &endpoint).await.iter().any(|one| one["attempts"] == 1)
    })
    .await;
    let log = deliveries(&app, &endpoint).await;
    assert_eq!(log[0]["last_error"], "the host has no public address");
    assert!(receiver.sent().is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_takes_nothing_that_it_would_not_send() {
    let app = start().await;
    let receiver = Receiver::start().await;
    register(&app, &receiver.url(), &["stock.changed"]).await;
    app.client.variant(1).await;
    eventually(std::time::Duration::from_secs(60), "one is to be sent", async || {
        fan_out(&app.app).await.unwrap();
        app.count("webhook_deliveries").await == 1
    })
    .await;
    app.app.drain();
    assert_eq!(run_once(&app.app).await.unwrap(), 0);
    assert_eq!(app.count("webhook_deliveries WHERE attempts = 0 AND state = 'pending'").await, 1);
    assert!(receiver.sent().is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_goes_on_in_the_trace_of_the_order_that_it_tells_of() {
    let collector = Collector::start().await;
    let settings = [
        ("HOLDFAST_WEBHOOK_ALLOW_PRIVATE", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url()),
        ("OTEL_BSP_SCHEDULE_DELAY", "5"),
    ];
    let app = TestApp::with(TestDatabase::fresh().await, None, &settings).await;
    let receiver = Receiver::start().await;
    register(&app, &receiver.url(), &["order.placed"]).await;
    let variant = app.client.variant(100).await;
    let placed = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201);
    let mut request = placed.header("traceresponse").unwrap().split('-').skip(1);
    let (trace_id, span_id) = (request.next().unwrap(), request.next().unwrap());
    deliver_until(&app, "it is sent", async || receiver.sent().len() == 1).await;
    let told = async || collector.trace(trace_id).into_iter().find(|span| span.name == "endpoints.deliver");
    eventually(std::time::Duration::from_secs(15), "that is told", async || told().await.is_some()).await;
    let delivery = told().await.unwrap();
    assert_eq!((delivery.parent_span_id.as_deref(), delivery.kind), (Some(span_id), 3));
    assert_eq!(delivery.attributes()["http.response.status_code"], "200");
    let sent = format!("00-{trace_id}-{}-01", delivery.span_id);
    assert_eq!(receiver.sent()[0].header("traceparent"), sent);
    app.finish().await;
}
