//! Redis as it is run: on a socket, behind TLS, or watched by sentinels.
//!
//! Locks that know one server only are lost with it: after a failover that everybody else has followed, the shop
//! would be without its queue until somebody restarts it.

use uuid::Uuid;

use super::{FAILOVER, PATIENT};
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{
    Certificate, Client, HeldRow, Private, Replica, Stranger, TestApp, TestDatabase, Watched, eventually,
    free_port,
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
async fn over_tls_the_server_is_used_if_its_certificate_is_trusted_and_done_without_if_not() {
    let (certificate, port) = (Certificate::new(), free_port().to_string());
    let shown = certificate.settings();
    let mut settings: Vec<_> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.push(("tls-port", &port));
    let redis = Private::redis_with(&settings).await;
    let (server, database) = (Stranger::at(&redis.url()).await, TestDatabase::fresh().await);
    let url = format!("rediss://localhost:{port}");

    let (variable, authority) = certificate.trusted();
    let trusting: Vec<_> = PATIENT.iter().copied().chain([(variable, authority.as_str())]).collect();
    let replica = Replica::start(&database.url, Some(&url), &trusting).await;
    locks_are_at(&server, &replica.client).await;
    assert!(replica.terminate().await);

    let replica = Replica::start(&database.url, Some(&url), PATIENT).await;
    let variant = replica.client.variant(5).await;
    assert_eq!(mode_of_a_sale(&replica.client, variant).await, "database_only");
    assert!(replica.terminate().await);
    database.close().await;
}

#[tokio::test]
async fn when_the_master_dies_no_request_fails_and_the_locks_move_to_the_next_one_by_themselves() {
    let mut redis = Watched::start().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), PATIENT).await;
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
