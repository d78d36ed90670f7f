//! Redis as it is run: on a socket, behind TLS, or watched by sentinels.
//!
//! Locks that know one server only are lost with it: after a failover that everybody else has followed, the shop
//! would be without its queue until somebody restarts it.

use hyper::Method;
use uuid::Uuid;

use super::{FAILOVER, PATIENT};
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{
    Certificate, Client, Cluster, HeldRow, Private, Replica, Stranger, TestApp, TestDatabase, Watched,
    eventually, free_port,
};

async fn mode_of_a_sale(client: &Client, variant: Uuid) -> String {
    let sold = client.decrement(variant, 1).await.expect(200);
    sold.header("lock-mode").unwrap().to_owned()
}

/// Sells before, while and after a stranger on the server itself holds the item.
async fn locks_are_at(server: &Stranger, client: &Client) {
    let variant = client.variant(5).await;
    assert_eq!(mode_of_a_sale(client, variant).await, "two_layer");
    let key = inventory_lock(variant);
    assert!(server.take(&key, "a stranger").await);
    assert_eq!(client.decrement(variant, 1).await.expect(429).code(), "lock_timeout");
    assert_eq!(server.holder(&key).await.as_deref(), Some("a stranger"));
    server.delete(&key).await;
    assert_eq!(mode_of_a_sale(client, variant).await, "two_layer");
    assert_eq!(client.on_hand(variant).await, 3);
}

#[tokio::test]
async fn a_socket_and_a_port_lead_to_the_same_locks() {
    let (on_socket, on_port) = (Private::redis().await, Private::redis_on_tcp().await);
    let under_another_name = on_port.url().replace("redis://", "valkey://");
    for url in [on_socket.url(), on_port.url(), under_another_name] {
        let app = TestApp::with(TestDatabase::fresh().await, Some(&url), PATIENT).await;
        locks_are_at(&Stranger::at(&url.replace("valkey://", "redis://")).await, &app.client).await;
        app.finish().await;
    }
}

#[tokio::test]
async fn over_tls_a_server_is_used_if_its_certificate_is_trusted_and_done_without_if_not() {
    let (certificate, port) = (Certificate::new(), free_port());
    let redis = Private::redis_with(&certificate.settings(port)).await;
    let (server, database) = (Stranger::at(&redis.url()).await, TestDatabase::fresh().await);
    let url = format!("rediss://localhost:{port}");
    let replica = trusting(&certificate, &database, &url).await;
    locks_are_at(&server, &replica.client).await;
    assert!(replica.terminate().await);

    let replica = Replica::start(&database.url, Some(&url), PATIENT).await;
    let variant = replica.client.variant(5).await;
    assert_eq!(mode_of_a_sale(&replica.client, variant).await, "database_only");
    assert!(replica.terminate().await);
    database.close().await;
}

#[tokio::test]
async fn over_tls_the_sentinels_and_the_master_they_name_are_found() {
    let certificate = Certificate::new();
    let (redis, database) = (Watched::over_tls(&certificate).await, TestDatabase::fresh().await);
    let replica = trusting(&certificate, &database, &redis.url()).await;
    locks_are_at(&redis.master().await, &replica.client).await;
    assert!(replica.terminate().await);
    database.close().await;
}

#[tokio::test]
async fn over_tls_every_node_of_a_cluster_is_found() {
    let certificate = Certificate::new();
    let (redis, database) = (Cluster::over_tls(&certificate).await, TestDatabase::fresh().await);
    let replica = trusting(&certificate, &database, &redis.url()).await;
    let ready = replica.client.send(Method::GET, "/health/ready", &[], "").await.unwrap().expect(200).json();
    assert_eq!(ready["redis"], "up", "it was written to at the start: {ready}");
    assert!(replica.terminate().await);
    database.close().await;
}

/// A replica that trusts the certificate, as a whole process must.
async fn trusting(certificate: &Certificate, database: &TestDatabase, url: &str) -> Replica {
    let (variable, authority) = certificate.trusted();
    let settings: Vec<_> = PATIENT.iter().copied().chain([(variable, authority.as_str())]).collect();
    Replica::start(&database.url, Some(url), &settings).await
}

#[tokio::test]
async fn when_the_master_dies_no_request_fails_and_the_locks_move_to_the_next_one_by_themselves() {
    let mut redis = Watched::start().await;
    // But for how soon it gives up: it waits at a row.
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &PATIENT[1..]).await;
    locks_are_at(&redis.master().await, &app.client).await;

    let variant = app.client.variant(1_000_000).await;
    redis.kill_master().await;
    assert_eq!(mode_of_a_sale(&app.client, variant).await, "database_only");
    eventually(FAILOVER, "two-layer again", async || {
        mode_of_a_sale(&app.client, variant).await == "two_layer"
    })
    .await;
    redis.until_failed_over().await;
    let row = HeldRow::of(&app.database, variant).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { mode_of_a_sale(&client, variant).await });
    until_at_a_row(&app.database.pool, 1).await;
    assert!(redis.master().await.holder(&inventory_lock(variant)).await.is_some());
    row.let_go().await;
    assert_eq!(sale.await.unwrap(), "two_layer");

    redis.return_of_the_old_master().await;
    locks_are_at(&redis.master().await, &app.client).await;
    app.finish().await;
}
