//! A vendor that gets another name while an upload of it, already judged, is about to be written: it is judged anew.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};

use super::in_all_modes;
use super::intake::{id, invoice, take, verdict};
use crate::support::eventually::eventually;

/// However slow the machine is.
const SOON: Duration = Duration::from_secs(60);

/// The table of lines, held by a transaction of the test's own: an upload reads and is judged, and stands here before it
/// is written. Nothing else that people do to invoices writes lines.
struct HeldLines(PgConnection);

impl HeldLines {
    async fn of(database: &str) -> Self {
        let mut conn = PgConnection::connect(database).await.unwrap();
        sqlx::query("BEGIN").execute(&mut conn).await.unwrap();
        sqlx::query("LOCK TABLE invoice_lines IN SHARE MODE").execute(&mut conn).await.unwrap();
        Self(conn)
    }

    async fn until_wanted(&self, pool: &PgPool) {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'
            AND relation = 'invoice_lines'::regclass
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually(SOON, "the upload is judged", async || {
            sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.unwrap() == 1
        })
        .await;
    }

    async fn let_go(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

fn of(vendor: &str, number: &str, total: &str, date: &str) -> Value {
    let line = |words: &str| json!({"description": words, "quantity": 1, "unit_price": "9"});
    json!({"vendor_name": vendor, "invoice_number": number, "total": total, "invoice_date": date,
           "lines": [line("Freight"), line("Insurance")], "on_duplicate": "flag"})
}

/// Borealis' second number, by its other name: new to who does not know that the two are one.
fn second() -> Value {
    of("Northwind", "G-80002", "7", "2026-01-12")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_vendor_is_renamed_after_it_was_judged_is_judged_anew_with_its_lines_and_matches() {
    in_all_modes(async |app, peer| {
        let pool = &app.database.pool;
        for way in ["flag", "reject", "batch"] {
            take(&app.client, way, &of("Borealis", "F-70001", "100", "2026-03-02")).await.expect(201);
            let first = take(&app.client, way, &of("Borealis", "G-80002", "9000", "2026-09-02")).await;
            let first = id(&first.expect(201));
            let flagged = take(&app.client, way, &of("Northwind", "F-70001", "100", "2026-03-02")).await;
            assert_eq!(flagged.json()["state"], "flagged");
            let checked = app.client.post("/invoices/check", &invoice(way, &second())).await.expect(200);
            assert_eq!(checked.json()["verdict"]["type"], "new");

            let held = HeldLines::of(&app.database.url).await;
            let client = app.client.clone();
            let uploading = tokio::spawn(async move {
                let mut given = invoice(way, &second());
                if way == "reject" {
                    given["on_duplicate"] = json!("reject");
                }
                if way != "batch" {
                    return client.post("/invoices", &given).await;
                }
                let other = invoice(way, &of("Cobalt", "C-1", "77777", "2026-05-05"));
                client.post("/invoices/batch", &json!({"invoices": [other, given]})).await
            });
            held.until_wanted(pool).await;
            let renamed = json!({"reason": "renamed", "same_vendor": true});
            let path = format!("/invoices/{}/override", id(&flagged));
            peer.client.post(&path, &renamed).await.expect(200);
            held.let_go().await;
            let reply = uploading.await.unwrap();

            let before = 3;
            let (told, more) = match way {
                "reject" => {
                    assert_eq!(verdict(&reply), (409, "exact".into()));
                    assert_eq!(reply.json()["verdict"]["invoice_id"], first);
                    (None, 0)
                }
                "flag" => (Some(reply.expect(201).json()), 1),
                _ => {
                    let results = reply.expect(200).json()["results"].clone();
                    assert_eq!(results[0]["invoice"]["verdict"], "new");
                    assert_eq!(results[0]["invoice"]["lines"].as_array().unwrap().len(), 2);
                    (Some(results[1]["invoice"].clone()), 2)
                }
            };
            if let Some(told) = told {
                assert_eq!((&told["verdict"], &told["state"]), (&json!("near"), &json!("flagged")), "{told}");
                let kept =
                    app.client.get(&format!("/invoices/{}", told["invoice_id"].as_str().unwrap())).await;
                let kept = kept.expect(200).json();
                assert_eq!((&kept["lines"], &kept["matches"]), (&told["lines"], &told["matches"]));
                assert_eq!(kept["lines"].as_array().unwrap().len(), 2);
                assert_eq!(kept["matches"].as_array().unwrap().len(), 1);
                assert_eq!(kept["matches"][0]["invoice_id"], first);
            }
            let kept = "SELECT count(*), (SELECT count(*) FROM invoice_lines JOIN invoices USING (invoice_id)
                        WHERE account_id = $1) FROM invoices WHERE account_id = $1";
            let kept: (i64, i64) = sqlx::query_as(kept).bind(way).fetch_one(pool).await.unwrap();
            assert_eq!(kept, (before + more, 2 * (before + more)), "{way}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_vendors_name_is_forgotten_after_it_was_judged_is_judged_anew_by_its_own() {
    in_all_modes(async |app, peer| {
        take(&app.client, "acc", &of("Borealis", "F-70001", "100", "2026-03-02")).await.expect(201);
        take(&app.client, "acc", &of("Borealis", "G-80002", "9000", "2026-09-02")).await.expect(201);
        let flagged = take(&app.client, "acc", &of("Northwind", "F-70001", "100", "2026-03-02")).await;
        let renamed = json!({"reason": "renamed", "same_vendor": true});
        app.client.post(&format!("/invoices/{}/override", id(&flagged)), &renamed).await.expect(200);

        let held = HeldLines::of(&app.database.url).await;
        let client = app.client.clone();
        let uploading = tokio::spawn(async move { take(&client, "acc", &second()).await });
        held.until_wanted(&app.database.pool).await;
        let forgotten = json!({"account_id": "acc", "vendor_name": "Northwind", "reason": "two vendors"});
        peer.client.post("/invoices/vendors/forget", &forgotten).await.expect(200);
        held.let_go().await;
        let told = uploading.await.unwrap().expect(201).json();
        let (state, matches) = (&told["state"], &told["matches"]);
        assert_eq!(
            (&told["verdict"], state, matches),
            (&json!("new"), &json!("accepted"), &json!([])),
            "{told}"
        );
    })
    .await;
}
