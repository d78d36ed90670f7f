//! Invoices that tills edit by name, all at once, and sell once.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{PATIENT, in_all_modes};
use crate::support::campaign::{amount, report};
use crate::support::eventually::eventually;
use crate::support::link::draw;
use crate::support::{
    Client, HeldRow, Peer, Reply, Stranger, TestApp, TestDatabase, at_once, shared_redis, unique,
};

/// However slow the machine is.
const SOON: Duration = Duration::from_secs(60);
/// How Redis says that a key is not there when it is asked how long it lasts.
const NOT_THERE: i64 = -2;

async fn put(client: &Client, name: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    client.send(Method::PUT, &format!("/api/v1/pos/invoices/{name}"), &all, body.to_string()).await.unwrap()
}

fn edit(version: i64, items: &[(Uuid, i64)]) -> Value {
    let item = |(variant, quantity): &(Uuid, i64)| json!({"variant_id": variant, "quantity": quantity});
    json!({"version": version, "customer": "Walk-in", "items": items.iter().map(item).collect::<Vec<_>>()})
}

async fn save(client: &Client, name: &str, version: i64, items: &[(Uuid, i64)]) -> Reply {
    put(client, name, &edit(version, items), &[]).await
}

async fn post(client: &Client, name: &str, verb: &str) -> Reply {
    client.post(&format!("/pos/invoices/{name}/{verb}"), &json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_accepted_from_the_newest_version_alone_and_stays_in_the_history() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let (a, name) = (app.client.variant(9).await, unique("SI"));
        assert_eq!(app.client.get(&format!("/pos/invoices/{name}")).await.code(), "invoice_not_found");
        assert_eq!(save(&app.client, &name, 3, &[(a, 1)]).await.expect(409).code(), "stale_invoice");
        let made = save(&app.client, &name, 0, &[(a, 1)]).await.expect(201);
        assert_eq!((&made.json()["version"], made.header("lock-mode")), (&json!(1), Some(mode)));
        assert_eq!(made.json()["lock"]["mode"], mode);
        let second = save(&app.client, &name, 1, &[(a, 2), (a, 1)]).await.expect(200).json();
        assert_eq!((&second["version"], &second["total"]), (&json!(2), &json!("37.50")));
        for old in [0, 1, 3] {
            let stale = save(&app.client, &name, old, &[(a, 5)]).await.expect(409);
            assert_eq!(
                (stale.code(), &stale.json()["errors"][0]["actual"]),
                ("stale_invoice".into(), &json!(2))
            );
        }
        let now = app.client.get(&format!("/pos/invoices/{name}")).await.expect(200).json();
        assert_eq!((&now["version"], &now["items"]), (&json!(2), &second["items"]));
        let history =
            app.client.get(&format!("/pos/invoices/{name}/history?limit=1")).await.expect(200).json();
        assert_eq!((&history["items"][0]["version"], &history["next_cursor"]), (&json!(1), &json!("1")));
        let rest = app.client.get(&format!("/pos/invoices/{name}/history?cursor=1")).await.json();
        assert_eq!((&rest["items"][0]["total"], &rest["next_cursor"]), (&json!("37.50"), &Value::Null));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_an_invoice_is_told_by_field_and_writes_nothing() {
    let app = TestApp::start().await;
    let (a, dollars) = (app.client.variant(9).await, app.client.priced_variant(1, "1", "USD").await);
    let name = unique("SI");
    for (body, status, field) in [
        (edit(0, &[]), 422, "items"),
        (edit(-1, &[(a, 1)]), 422, "version"),
        (edit(0, &[(a, 0)]), 422, "items[0].quantity"),
        (edit(0, &[(a, 1), (Uuid::new_v4(), 1)]), 404, "items[1].variant_id"),
        (edit(0, &[(a, 1), (dollars, 1)]), 422, "items[1].variant_id"),
        (
            json!({"version": 0, "items": [{"variant_id": a, "quantity": 1, "unit_price": "-1"}]}),
            422,
            "items[0].unit_price",
        ),
        (
            json!({"version": 0, "items": [{"variant_id": a, "quantity": 1, "price": "1"}]}),
            422,
            "items[0].price",
        ),
        (json!({"version": 0, "customer": "", "items": [{"variant_id": a, "quantity": 1}]}), 422, "customer"),
        (json!({"version": 0, "items": [[a, 1]]}), 422, "items[0]"),
    ] {
        let refused = put(&app.client, &name, &body, &[]).await.expect(status).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    let long = "x".repeat(256);
    for name in [&*long, "%00", "%E2%80%AEabc"] {
        save(&app.client, name, 0, &[(a, 1)]).await.expect(422);
    }
    assert_eq!((app.count("pos_invoices").await, app.count("pos_invoice_versions").await), (0, 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_sold_once_by_any_number_of_tills_and_comes_back_once() {
    in_all_modes(async |app, peer| {
        let (a, b, name) = (app.client.variant(9).await, app.client.variant(9).await, unique("SI"));
        save(&app.client, &name, 0, &[(a, 2), (b, 1), (a, 1)]).await.expect(201);
        assert_eq!(post(&app.client, &name, "return").await.expect(409).code(), "invoice_not_submitted");
        for (verb, state, left) in [("submit", "submitted", [6, 8]), ("return", "returned", [9, 9])] {
            let clients = [app.client.clone(), peer.client.clone()];
            let replies = at_once(8, |n| {
                let (client, name) = (clients[n % 2].clone(), name.clone());
                async move { post(&client, &name, verb).await }
            })
            .await;
            for reply in replies {
                assert_eq!(reply.expect(200).json()["state"], state);
            }
            assert_eq!([app.client.on_hand(a).await, app.client.on_hand(b).await], left);
            let over = save(&app.client, &name, 1, &[(a, 1)]).await.expect(409);
            assert_eq!(over.code(), format!("invoice_{state}"));
        }
        assert_eq!(post(&app.client, &name, "submit").await.expect(409).code(), "invoice_returned");
        assert_eq!([app.client.on_hand(a).await, app.client.on_hand(b).await], [9, 9]);
    })
    .await;
}

/// A return reads what it will lock, and waits; meanwhile other items are written, and sold.
#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_waited_while_other_items_were_sold_brings_those_back() {
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), PATIENT).await;
    let alone = Peer::start(&app.database.url, None, PATIENT).await;
    let (a, b, name) = (app.client.variant(9).await, app.client.variant(9).await, unique("SI"));
    save(&app.client, &name, 0, &[(a, 1)]).await.expect(201);
    let (redis, key) = (Stranger::at(&shared_redis()).await, format!("lock:invoice_lock_{name}"));
    assert!(redis.take(&key, "another program").await);
    let (client, named) = (app.client.clone(), name.clone());
    let returning = tokio::spawn(async move { post(&client, &named, "return").await });
    eventually(SOON, "the return stands in line", async || redis.line(&key).await.len() == 1).await;
    save(&alone.client, &name, 1, &[(b, 2)]).await.expect(200);
    post(&alone.client, &name, "submit").await.expect(200);
    redis.delete(&key).await;
    assert_eq!(returning.await.unwrap().expect(200).json()["state"], "returned");
    assert_eq!([app.client.on_hand(a).await, app.client.on_hand(b).await], [9, 9]);
    alone.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_with_short_items_sells_nothing_and_names_each_of_them() {
    let app = TestApp::start().await;
    let (a, b, c) = (app.client.variant(3).await, app.client.variant(1).await, app.client.variant(9).await);
    let name = unique("SI");
    save(&app.client, &name, 0, &[(a, 2), (b, 2), (c, 1), (a, 2)]).await.expect(201);
    let short = post(&app.client, &name, "submit").await.expect(409);
    assert_eq!(short.code(), "insufficient_stock");
    let fields: Vec<_> =
        short.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["items[0].quantity", "items[1].quantity", "items[3].quantity"]);
    assert_eq!(
        (
            app.client.on_hand(c).await,
            app.client.get(&format!("/pos/invoices/{name}")).await.json()["state"].clone()
        ),
        (9, json!("draft"))
    );
    let stale = app.client.post(&format!("/pos/invoices/{name}/submit"), &json!({"version": 7})).await;
    assert_eq!(stale.expect(409).code(), "stale_invoice");
    save(&app.client, &name, 1, &[(c, 1)]).await.expect(200);
    let key = unique("key");
    let path = format!("/pos/invoices/{name}/submit");
    let sold = app.client.post_keyed(&path, &json!({}), &key).await.expect(200);
    let again = app.client.post_keyed(&path, &json!({}), &key).await.expect(200);
    assert_eq!((again.bytes.clone(), again.was_replayed()), (sold.bytes, true));
    // The name's case tells two invoices apart, for keys too.
    let upper = format!("/pos/invoices/{}/submit", name.to_uppercase());
    assert_eq!(app.client.post_keyed(&upper, &json!({}), &key).await.code(), "invoice_not_found");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finds_the_invoice_taken_is_told_so_at_once_or_after_the_wait_it_chose() {
    const BUSY: &str = "Another update of this invoice is in progress. Please try again.";
    let app = TestApp::start().await;
    let (a, name) = (app.client.variant(9).await, unique("SI"));
    let (redis, key) = (Stranger::at(&shared_redis()).await, format!("lock:invoice_lock_{name}"));
    assert!(redis.take(&key, "another till").await);
    for wait in ["wait=0", "wait=1"] {
        let busy = put(&app.client, &name, &edit(0, &[(a, 1)]), &[("prefer", wait)]).await.expect(409);
        assert_eq!((busy.code(), &busy.json()["detail"]), ("invoice_busy".into(), &json!(BUSY)));
        assert_eq!((busy.header("preference-applied"), busy.header("retry-after")), (Some(wait), Some("1")));
    }
    assert_eq!(app.count("pos_invoices").await, 0);
    redis.delete(&key).await;
    save(&app.client, &name, 0, &[(a, 1)]).await.expect(201);
    let at_once = async |client: &Client, verb: &str| {
        let headers = [("content-type", "application/json"), ("prefer", "wait=0")];
        let path = format!("/api/v1/pos/invoices/{name}/{verb}");
        client.send(Method::POST, &path, &headers, "{}").await.unwrap()
    };
    assert!(redis.take(&key, "another till").await);
    assert_eq!(at_once(&app.client, "submit").await.expect(409).code(), "invoice_busy");
    redis.delete(&key).await;
    // The same by the row alone.
    let alone = Peer::start(&app.database.url, None, PATIENT).await;
    let mut holder = PgConnection::connect(&app.database.url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut holder).await.unwrap();
    sqlx::query("SELECT FROM pos_invoices WHERE name = $1 FOR UPDATE")
        .bind(&name)
        .execute(&mut holder)
        .await
        .unwrap();
    let busy = put(&alone.client, &name, &edit(1, &[(a, 2)]), &[("prefer", "wait=0")]).await.expect(409);
    assert_eq!(busy.code(), "invoice_busy");
    for verb in ["submit", "return"] {
        assert_eq!(at_once(&alone.client, verb).await.expect(409).json()["detail"], BUSY, "{verb}");
    }
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    holder.close().await.unwrap();
    // A request that was refused lets go of the invoice's name a moment after it was answered.
    let open = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    eventually(SOON, "nobody is at the invoice", async || {
        sqlx::query_scalar::<_, i64>(open).fetch_one(&app.database.pool).await.unwrap() == 0
    })
    .await;
    // It is not the invoice that somebody else has.
    let stock = HeldRow::of(&app.database, a).await;
    assert_eq!(at_once(&alone.client, "submit").await.expect(429).code(), "lock_timeout");
    stock.let_go().await;
    assert_eq!(post(&alone.client, &name, "submit").await.expect(200).json()["state"], "submitted");
    alone.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_an_invoice_ends_within_five_seconds_of_whoever_holds_it() {
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), PATIENT).await;
    let (a, name) = (app.client.variant(9).await, unique("SI"));
    save(&app.client, &name, 0, &[(a, 1)]).await.expect(201);
    // An edit stands at the row, in the middle of its section.
    let mut row = PgConnection::connect(&app.database.url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut row).await.unwrap();
    let held = "SELECT FROM pos_invoices WHERE name = $1 FOR UPDATE";
    sqlx::query(held).bind(&name).execute(&mut row).await.unwrap();
    let (client, named) = (app.client.clone(), name.clone());
    let saving = tokio::spawn(async move { save(&client, &named, 1, &[(a, 2)]).await });
    let (redis, key) = (Stranger::at(&shared_redis()).await, format!("lock:invoice_lock_{name}"));
    let mut left_ms = NOT_THERE;
    eventually(SOON, "the edit holds its lock", async || {
        left_ms = redis.left_ms(&key).await;
        left_ms != NOT_THERE
    })
    .await;
    assert!((1..=5_000).contains(&left_ms), "{left_ms}");
    row.close().await.unwrap();
    saving.await.unwrap().expect(200);
    assert_eq!(redis.left_ms(&key).await, NOT_THERE);
    app.finish().await;
}

/// Each till reads the invoice and writes its next version, until it was accepted so often.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_tills_at_ten_invoices_every_accepted_edit_is_in_the_history_in_order() {
    let (tills, edits) = (amount(20, 100), amount(2, 20));
    in_all_modes(async |app, peer| {
        let a = app.client.variant(1).await;
        let names: Vec<_> = (0..10).map(|_| unique("SI")).collect();
        let clients = [app.client.clone(), peer.client.clone()];
        let accepted = at_once(tills, |till| {
            let (names, clients) = (names.clone(), clients.clone());
            async move {
                let mut accepted = Vec::new();
                while accepted.len() < edits {
                    let (name, client) = (&names[draw(10) as usize], &clients[till % 2]);
                    let found = client.get(&format!("/pos/invoices/{name}")).await.json();
                    let version = found["version"].as_i64().unwrap_or(0);
                    // The quantity says which till's edit it is.
                    let mark = (till * edits + accepted.len() + 1) as i64;
                    let reply = save(client, name, version, &[(a, mark)]).await;
                    match (reply.status.as_u16(), &*reply.code()) {
                        (200 | 201, _) => accepted.push((name.clone(), reply.json()["version"].as_i64().unwrap(), mark)),
                        (409, "stale_invoice") => {}
                        _ => panic!("{reply:?}"),
                    }
                }
                accepted
            }
        })
        .await;
        let mut told: Vec<_> = accepted.into_iter().flatten().collect();
        told.sort();
        let history = "SELECT name, version, quantity FROM pos_invoice_items JOIN pos_invoice_versions
                       USING (name, version) ORDER BY name COLLATE \"C\", version";
        let kept: Vec<(String, i64, i64)> = sqlx::query_as(history).fetch_all(&app.database.pool).await.unwrap();
        assert_eq!((told.len(), told == kept), (tills * edits, true), "{told:?} {kept:?}");
        let gaps = "SELECT count(*) FROM (SELECT name, max(version) AS newest, count(*) AS n FROM pos_invoice_versions
                    GROUP BY name) AS h JOIN pos_invoices p USING (name) WHERE newest <> n OR p.version <> n";
        assert_eq!(sqlx::query_scalar::<_, i64>(gaps).fetch_one(&app.database.pool).await.unwrap(), 0);
    })
    .await;
    let all = tills * edits;
    report(&format!(
        "{tills} tills at ten invoices, in each of three modes: {all} accepted edits, all in order, none lost"
    ));
}

/// How it was done before: look for the key, and set it if it was not there; then read, and write. With tills between
/// whose two steps others come, an edit is lost. The same two tills at the service: each edit that was accepted is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_looked_at_and_then_set_loses_edits_and_the_services_loses_none() {
    let redis = Stranger::at(&shared_redis()).await;
    let (lock, invoice) = (unique("old-way-lock"), unique("old-way-invoice"));
    redis.ask::<String>(&["SET", &invoice, "0"]).await;
    let both_looked = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let accepted = at_once(2, |_| {
        let (redis, lock, invoice, both) =
            (redis.clone(), lock.clone(), invoice.clone(), both_looked.clone());
        async move {
            let is_free = redis.ask::<Option<String>>(&["GET", &lock]).await.is_none();
            both.wait().await;
            if !is_free {
                return false;
            }
            redis.ask::<String>(&["SET", &lock, "locked", "EX", "5"]).await;
            let version: i64 = redis.ask(&["GET", &invoice]).await;
            both.wait().await;
            redis.ask::<String>(&["SET", &invoice, &(version + 1).to_string()]).await;
            true
        }
    })
    .await;
    let version: i64 = redis.ask(&["GET", &invoice]).await;
    assert_eq!((accepted, version), (vec![true, true], 1), "two edits were accepted, and one is left");
    redis.delete(&lock).await;
    redis.delete(&invoice).await;
    in_all_modes(async |app, peer| {
        let (a, name) = (app.client.variant(1).await, unique("SI"));
        let clients = [app.client.clone(), peer.client.clone()];
        let both_read = std::sync::Arc::new(tokio::sync::Barrier::new(2));
        let accepted = at_once(2, |till| {
            let (client, name, both) = (clients[till].clone(), name.clone(), both_read.clone());
            async move {
                let found = client.get(&format!("/pos/invoices/{name}")).await.json();
                let version = found["version"].as_i64().unwrap_or(0);
                both.wait().await;
                save(&client, &name, version, &[(a, 1)]).await.status.is_success()
            }
        })
        .await;
        let accepted = accepted.into_iter().filter(|accepted| *accepted).count() as i64;
        let now = app.client.get(&format!("/pos/invoices/{name}")).await.expect(200).json();
        assert_eq!((accepted, &now["version"]), (1, &json!(1)));
    })
    .await;
}
