//! Processing markers over HTTP: whoever reads a file has it alone, and it is worked off once, whoever dies or sleeps.

use hyper::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::in_all_modes;
use crate::support::campaign::{amount, report};
use crate::support::link::draw;
use crate::support::{Client, Reply, Stranger, TestApp, at_once, shared_redis, unique};

pub(super) async fn start(client: &Client, file: &str) -> Reply {
    client.post("/invoices/processing", &json!({"account_id": "acc", "file_hash": file})).await
}

pub(super) async fn end(client: &Client, started: &Value, how: &str) -> Reply {
    let path = format!("/invoices/processing/{}/{how}", started["marker"].as_str().unwrap());
    let mut body = json!({"fence": started["fence"]});
    if how == "fail" {
        body["reason"] = json!("unreadable");
    }
    client.post(&path, &body).await
}

/// The worker's time is over.
async fn lapse(pool: &PgPool, file: &str) {
    sqlx::query(
        "UPDATE leases SET expires_at = clock_timestamp() - interval '1 millisecond' WHERE name = $1",
    )
    .bind(format!("processing:acc:{file}"))
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_one_whether_its_hash_is_in_capitals_or_small_letters() {
    let app = TestApp::start().await;
    let file = unique("hash").to_lowercase();
    let started = start(&app.client, &file.to_uppercase()).await.expect(201).json();
    assert_eq!(started["marker"], format!("processing:acc:{file}"));
    assert_eq!(start(&app.client, &file).await.expect(409).code(), "already_processing");
    let seen = format!("/invoices/processing?account_id=acc&file_hash={}", file.to_uppercase());
    assert_eq!(app.client.get(&seen).await.expect(200).json()["fence"], started["fence"]);
    let invoice = json!({"account_id": "acc", "vendor_name": "Acme", "invoice_number": "7", "invoice_date": "2026-03-02",
                         "total": "5", "currency": "EUR", "file_hash": file, "fence": started["fence"]});
    app.client.post("/invoices", &invoice).await.expect(201);
    assert_eq!(app.client.get(&seen).await.expect(404).code(), "marker_not_found");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_at_a_file_and_everybody_else_is_told_until_it_lets_go() {
    use holdfast::http::auth::Scope;
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (ann, bob) =
            (app.client_of("ann", &[Scope::Finance]).await, app.client_of("bob", &[Scope::Finance]).await);
        let file = unique("hash");
        let query = format!("/invoices/processing?account_id=acc&file_hash={file}");
        assert_eq!(ann.get(&query).await.expect(404).code(), "marker_not_found");
        let started = start(&ann, &file).await.expect(201).json();
        assert_eq!(started["marker"], format!("processing:acc:{file}"));
        for other in [&ann, &bob] {
            assert_eq!(start(other, &file).await.expect(409).code(), "already_processing");
        }
        let beat = format!("/invoices/processing/{}/beat", started["marker"].as_str().unwrap());
        ann.post(&beat, &json!({"fence": started["fence"], "progress": 40, "ttl_seconds": 60}))
            .await
            .expect(200);
        let running = bob.get(&query).await.expect(200).json();
        assert_eq!(
            (&running["owner"], &running["progress"], &running["fence"]),
            (&json!("ann"), &json!(40), &started["fence"])
        );
        let delete = async |client: &Client, path: &str| {
            client.send(Method::DELETE, &format!("/api/v1{path}"), &[], "").await.unwrap()
        };
        assert_eq!(delete(&bob, &query).await.expect(403).code(), "not_marker_owner");
        // A fence is told to everybody, and is one's own all the same.
        for verb in ["finish", "fail"] {
            assert_eq!(end(&bob, &started, verb).await.expect(403).code(), "not_marker_owner");
        }
        let beaten = bob.post(&beat, &json!({"fence": started["fence"]})).await;
        assert_eq!(beaten.expect(403).code(), "not_marker_owner");
        let invoice = json!({"account_id": "acc", "vendor_name": "Acme", "invoice_number": file, "invoice_date": "2026-03-02",
                             "total": "5", "currency": "EUR", "file_hash": file, "fence": started["fence"]});
        assert_eq!(bob.post("/invoices", &invoice).await.expect(403).code(), "not_marker_owner");
        assert_eq!(app.count("invoices").await, 0);
        delete(&ann, &query).await.expect(200);
        assert_eq!(end(&ann, &started, "finish").await.expect(409).code(), "marker_lost");
        let again = start(&bob, &file).await.expect(201).json();
        assert!(again["fence"].as_i64() > started["fence"].as_i64());
        end(&bob, &again, "fail").await.expect(200);
        let last = start(&ann, &file).await.expect(201).json();
        end(&ann, &last, "finish").await.expect(200);
        assert_eq!(end(&ann, &last, "finish").await.expect(409).code(), "marker_lost");
        assert_eq!(Stranger::at(&shared_redis()).await.holder(&format!("processing:acc:{file}")).await, None);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_starts_work_once_and_what_can_be_no_marker_is_told_by_field() {
    let app = TestApp::start().await;
    let (file, key) = (unique("hash"), unique("key"));
    let body = json!({"account_id": "acc", "file_hash": file});
    let first = app.client.post_keyed("/invoices/processing", &body, &key).await.expect(201);
    let again = app.client.post_keyed("/invoices/processing", &body, &key).await.expect(201);
    assert_eq!((first.bytes.clone(), again.was_replayed()), (again.bytes.clone(), true));
    for (field, value) in [
        ("file_hash", json!("a:b")),
        ("file_hash", json!("")),
        ("account_id", json!("\u{e9}")),
        ("ttl_seconds", json!(0)),
        ("ttl_seconds", json!(86_401)),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        let refused = app.client.post("/invoices/processing", &wrong).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    app.client.get("/invoices/processing/rack:lock:R1").await.expect(422);
    assert_eq!(app.count("leases").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_ends_its_files_marker_and_one_whose_marker_is_lost_is_not_in() {
    let app = TestApp::start().await;
    let file = unique("hash");
    let slow = start(&app.client, &file).await.expect(201).json();
    let invoice = |fence: &Value| {
        json!({"account_id": "acc", "vendor_name": "Acme", "invoice_number": "1", "invoice_date": "2026-03-02",
               "total": "5", "currency": "EUR", "file_hash": file, "fence": fence})
    };
    lapse(&app.database.pool, &file).await;
    let quick = start(&app.client, &file).await.expect(201).json();
    let late = app.client.post("/invoices", &invoice(&slow["fence"])).await.expect(409);
    assert_eq!((late.code(), app.count("invoices").await), ("marker_lost".into(), 0));
    app.client.post("/invoices", &invoice(&quick["fence"])).await.expect(201);
    assert_eq!(
        app.client.get(&format!("/invoices/processing/{}", quick["marker"].as_str().unwrap())).await.code(),
        "marker_not_found"
    );
    assert_eq!(Stranger::at(&shared_redis()).await.holder(quick["marker"].as_str().unwrap()).await, None);
    app.finish().await;
}

/// Two workers with one key: that it is another's claim is seen by nothing but the fence.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_followed_by_another_of_its_own_name_ends_nothing_and_changes_nothing() {
    in_all_modes(async |app, peer| {
        let file = unique("hash");
        let slow = start(&app.client, &file).await.expect(201).json();
        lapse(&app.database.pool, &file).await;
        let quick = start(&peer.client, &file).await.expect(201).json();
        assert!(quick["fence"].as_i64() > slow["fence"].as_i64());
        let whole = async || -> Value {
            let all = "SELECT jsonb_agg(to_jsonb(l)) FROM leases l";
            sqlx::query_scalar(all).fetch_one(&app.database.pool).await.unwrap()
        };
        let before = whole().await;
        assert_eq!((before[0]["owner"].as_str(), &before[0]["ending"]), (Some("admin"), &Value::Null));
        let path = format!("/invoices/processing/{}", slow["marker"].as_str().unwrap());
        let beat = json!({"fence": slow["fence"], "progress": 99});
        assert_eq!(app.client.post(&format!("{path}/beat"), &beat).await.expect(409).code(), "marker_lost");
        for verb in ["finish", "fail"] {
            assert_eq!(end(&app.client, &slow, verb).await.expect(409).code(), "marker_lost");
        }
        let clear = format!("/api/v1{path}?fence={}", slow["fence"]);
        let cleared = app.client.send(Method::DELETE, &clear, &[], "").await.unwrap();
        assert_eq!((cleared.expect(409).code(), whole().await), ("marker_lost".into(), before));
        assert_eq!(end(&peer.client, &quick, "finish").await.expect(200).json()["ending"], "finished");
    })
    .await;
}

/// Some workers die with a file in their hands, some sleep until another has it and wake to finish it too. All of them
/// look for files that nobody has finished.
#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_finished_once_by_workers_of_which_some_die_and_some_sleep() {
    let (files, workers) = (amount(12, 1_000), 8);
    in_all_modes(async |app, peer| {
        let run = unique("run");
        let clients = [app.client.clone(), peer.client.clone()];
        let ended = at_once(workers, |n| {
            let (run, client, pool) = (run.clone(), clients[n % 2].clone(), app.database.pool.clone());
            async move {
                let (mut finished, mut asleep) = (Vec::new(), Vec::<(usize, String, Value)>::new());
                for file in (0..files).cycle().skip(n * files / workers).take(files * 4) {
                    // One that slept wakes in the middle of the work of others.
                    if draw(3) == 0
                        && let Some((file, hash, started)) = asleep.pop()
                    {
                        finished.extend(finish(&client, file, &hash, &started).await);
                    }
                    let hash = format!("{run}-{file}");
                    if is_in(&pool, &hash).await {
                        continue;
                    }
                    let started = start(&client, &hash).await;
                    if started.status == 409 {
                        assert_eq!(started.code(), "already_processing");
                        continue;
                    }
                    let started = started.expect(201).json();
                    match draw(4) {
                        // It dies: its time is over, and nobody else will be told.
                        0 => lapse(&pool, &hash).await,
                        // It sleeps, and wakes later, or when all is done.
                        1 => {
                            lapse(&pool, &hash).await;
                            asleep.push((file, hash, started));
                        }
                        _ => finished.extend(finish(&client, file, &hash, &started).await),
                    }
                }
                for (file, hash, started) in asleep {
                    finished.extend(finish(&client, file, &hash, &started).await);
                }
                finished
            }
        })
        .await;
        let mut finished: Vec<_> = ended.into_iter().flatten().collect();
        // What they all let fall is left for the last one.
        for file in 0..files {
            let hash = format!("{run}-{file}");
            if !is_in(&app.database.pool, &hash).await {
                let started = start(&app.client, &hash).await.expect(201).json();
                finished.extend(finish(&app.client, file, &hash, &started).await);
            }
        }
        finished.sort_unstable();
        assert_eq!(finished, (0..files).collect::<Vec<_>>());
        assert_eq!(app.count("invoices").await, files as i64);
    })
    .await;
    report(&format!(
        "{files} files and eight workers that die and sleep, in each of three modes: each was finished once"
    ));
}

/// The same without an invoice, so that nothing but the fence stands between two who finish one file. What each did is
/// written where nothing keeps it from being there twice.
#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_finish_a_file_one_does_and_it_is_whoever_has_the_newest_claim() {
    let rounds = amount(20, 1_000);
    in_all_modes(async |app, peer| {
        let clients = [app.client.clone(), peer.client.clone()];
        for _ in 0..rounds {
            let file = unique("hash");
            let mut claims = Vec::new();
            // Each but the last was followed: it died, or it is only slow.
            for n in 0..3 {
                claims.push(start(&clients[n % 2], &file).await.expect(201).json());
                if n < 2 {
                    lapse(&app.database.pool, &file).await;
                }
            }
            let replies = at_once(6, |n| {
                let (client, claim) = (clients[n % 2].clone(), claims[n / 2].clone());
                let verb = if draw(4) == 0 { "fail" } else { "finish" };
                async move { end(&client, &claim, verb).await }
            })
            .await;
            let ended: Vec<_> = (0..6).filter(|n| replies[*n].status == 200).collect();
            assert!(matches!(ended[..], [4 | 5]), "{replies:?}");
            for (n, reply) in replies.iter().enumerate().filter(|(n, _)| *n != ended[0]) {
                assert_eq!((reply.status.as_u16(), &*reply.code()), (409, "marker_lost"), "{n} {reply:?}");
            }
        }
    })
    .await;
    report(&format!(
        "{rounds} files that three claimed and six finished at once, in each of three modes: one did each time"
    ));
}

async fn is_in(pool: &PgPool, hash: &str) -> bool {
    let is_in = "SELECT EXISTS (SELECT FROM invoices WHERE file_hash = $1)";
    sqlx::query_scalar(is_in).bind(hash).fetch_one(pool).await.unwrap()
}

/// Takes the file's invoice in and ends its marker. The file, if it was this worker that did.
async fn finish(client: &Client, file: usize, hash: &str, started: &Value) -> Option<usize> {
    let invoice = json!({
        "account_id": "acc", "vendor_name": "Acme", "invoice_number": format!("F{file}"), "invoice_date": "2026-03-02",
        "total": format!("{}", 100 + file * 37), "currency": "EUR", "file_hash": hash, "fence": started["fence"],
    });
    let reply = client.post("/invoices", &invoice).await;
    match (reply.status.as_u16(), &*reply.code()) {
        (201, _) => Some(file),
        (409, "marker_lost" | "duplicate_invoice") => None,
        _ => panic!("{reply:?}"),
    }
}
