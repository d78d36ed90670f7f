//! Uploads, decisions and receipts of one invoice at once, over two replicas: whatever comes first, they agree on it.

use serde_json::{Value, json};

use super::in_all_modes;
use super::intake::{MISREAD, id, invoice, take, verdict};
use crate::support::campaign::{amount, report};
use crate::support::link::draw;
use crate::support::{Reply, at_once};

/// Eight spellings of one invoice, any two of which are one: by number, or near.
fn spellings() -> Vec<Value> {
    let spellings = [
        json!({}),
        json!({"vendor_name": "NORTHWIND TRADERS", "invoice_number": "inv/0010482"}),
        json!({"invoice_number": MISREAD}),
        json!({"invoice_number": "INV-10482-R", "invoice_date": "2026-03-03"}),
        json!({"vendor_name": "Northwlnd Traders"}),
        json!({"invoice_number": "INV-10842"}),
        json!({"total": "1210.01"}),
        json!({"invoice_date": "2026-03-01", "invoice_number": "10482"}),
    ];
    let line = |n: i64| json!({"description": format!("Part {n}"), "quantity": n, "unit_price": "10"});
    let with_lines = |mut spelling: Value| {
        spelling["lines"] = json!([line(1), line(2), line(3)]);
        spelling
    };
    spellings.into_iter().map(with_lines).collect()
}

/// The place of the one that is in, of all of which the others were told.
fn first_of(replies: &[Reply]) -> usize {
    let inside: Vec<_> = (0..replies.len()).filter(|n| replies[*n].status == 201).collect();
    let [first] = inside[..] else { panic!("not one is in: {replies:?}") };
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        assert_eq!(reply.code(), "duplicate_invoice");
        assert_eq!(reply.json()["verdict"]["invoice_id"], replies[first].json()["invoice_id"], "{reply:?}");
    }
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_uploads_at_once_of_one_invoice_one_is_in_and_the_rest_are_told_of_it() {
    let rounds = amount(6, 200);
    in_all_modes(async |app, peer| {
        for round in 0..rounds {
            let account = format!("acc-{round}");
            let mut given = spellings();
            for place in (1..given.len()).rev() {
                given.swap(place, draw(place as u64 + 1) as usize);
            }
            let clients = [app.client.clone(), peer.client.clone()];
            let replies = at_once(given.len(), |n| {
                let (client, account, changes) = (clients[n % 2].clone(), account.clone(), given[n].clone());
                async move { take(&client, &account, &changes).await }
            })
            .await;
            let first = first_of(&replies);
            // The verdicts are those of one upload after the other.
            let again = format!("{account}-again");
            take(&app.client, &again, &given[first]).await.expect(201);
            for n in (0..given.len()).filter(|n| *n != first) {
                assert_eq!(verdict(&replies[n]), verdict(&take(&app.client, &again, &given[n]).await));
            }
        }
        assert_eq!(app.count("invoices").await, 2 * rounds as i64);
    })
    .await;
    report(&format!(
        "{rounds} rounds of eight uploads of one invoice, in each of three modes: one was in each time"
    ));
}

/// By number alone: dates and totals share no key, and behind what is near stands no index. By file alone: nothing else is
/// the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_alone_and_a_file_alone_keep_uploads_apart() {
    let months = ["2026-01-05", "2026-05-05", "2026-09-05", "2026-11-25"];
    let exact =
        |n: usize| json!({"invoice_date": months[n], "total": format!("{}", 10_usize.pow(n as u32 + 1))});
    let near = |n: usize| {
        let vendor = if n.is_multiple_of(2) { "Northwind Traders" } else { "Northwlnd Traders" };
        json!({"invoice_date": months[n], "vendor_name": vendor})
    };
    let file = |n: usize| {
        let mut upload = exact(n);
        upload["vendor_name"] = json!(["Alder", "Borealis", "Cobalt", "Dover"][n]);
        upload["invoice_number"] = json!(format!("{}77{n}", ["X", "Y", "Z", "W"][n]));
        upload["file_hash"] = json!("same");
        upload
    };
    let rounds = amount(2, 50);
    in_all_modes(async |app, peer| {
        let clients = [app.client.clone(), peer.client.clone()];
        let ways: [(&str, &dyn Fn(usize) -> Value); 3] =
            [("exact", &exact), ("near", &near), ("file", &file)];
        for (way, given) in ways {
            for round in 0..rounds {
                let account = format!("{way}-{round}");
                let replies = at_once(4, |n| {
                    let (client, account, changes) = (clients[n % 2].clone(), account.clone(), given(n));
                    async move { take(&client, &account, &changes).await }
                })
                .await;
                first_of(&replies);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_uploads_beside_a_void_none_is_in_or_the_first_after_it() {
    let rounds = amount(4, 100);
    in_all_modes(async |app, peer| {
        let clients = [app.client.clone(), peer.client.clone()];
        for round in 0..rounds {
            let account = format!("acc-{round}");
            let first = take(&app.client, &account, &json!({})).await.expect(201);
            let void = format!("/invoices/{}/void", id(&first));
            let replies = at_once(4, |n| {
                let (client, account, void) = (clients[n % 2].clone(), account.clone(), void.clone());
                async move {
                    match n {
                        0 => client.post(&void, &json!({"reason": "not ours"})).await.expect(200),
                        _ => take(&client, &account, &json!({"vendor_name": "NORTHWIND traders"})).await,
                    }
                }
            })
            .await;
            let inside: Vec<_> = replies[1..].iter().filter(|reply| reply.status == 201).collect();
            assert!(inside.len() < 2, "{replies:?}");
            let known: Vec<_> = inside.iter().chain([&&first]).map(|reply| id(reply)).collect();
            for refused in replies[1..].iter().filter(|reply| reply.status != 201) {
                assert_eq!(verdict(refused), (409, "exact".into()));
                assert!(
                    known.iter().any(|id| refused.json()["verdict"]["invoice_id"] == **id),
                    "{refused:?}"
                );
            }
            // Whoever was in is in, and if nobody was, the number is free.
            let later = take(&app.client, &account, &json!({})).await;
            assert_eq!(later.status == 201, inside.is_empty(), "{later:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_beside_an_override_that_teaches_its_vendors_name_is_judged_by_it_or_was_before_it() {
    let rounds = amount(4, 100);
    let line = json!([{"description": "Freight", "quantity": 1, "unit_price": "9"}]);
    let of = |vendor: &str, number: &str, total: &str, date: &str| {
        json!({"vendor_name": vendor, "invoice_number": number, "total": total, "invoice_date": date,
               "lines": line, "on_duplicate": "flag"})
    };
    in_all_modes(async |app, peer| {
        let clients = [app.client.clone(), peer.client.clone()];
        for round in 0..rounds {
            let account = format!("acc-{round}");
            take(&app.client, &account, &of("Borealis", "F-70001", "100", "2026-03-02")).await.expect(201);
            take(&app.client, &account, &of("Borealis", "G-80002", "9000", "2026-09-02")).await.expect(201);
            let flagged = take(&app.client, &account, &of("Northwind", "F-70001", "100", "2026-03-02")).await;
            assert_eq!(flagged.json()["state"], "flagged");
            let path = format!("/invoices/{}/override", id(&flagged));
            // Borealis' second number, by its other name.
            let mut second = of("Northwind", "G-80002", "7", "2026-01-12");
            second["on_duplicate"] = json!("reject");
            let replies = at_once(2, |n| {
                let (client, account) = (clients[n].clone(), account.clone());
                let (path, second) = (path.clone(), second.clone());
                async move {
                    match n {
                        0 => client.post(&path, &json!({"reason": "renamed", "same_vendor": true})).await,
                        _ => take(&client, &account, &second).await,
                    }
                }
            })
            .await;
            assert_eq!(replies[0].status, 200, "{replies:?}");
            assert!(
                [(201, "new".into()), (409, "exact".into())].contains(&verdict(&replies[1])),
                "{replies:?}"
            );
            let later = take(&app.client, &account, &second).await;
            assert_eq!(verdict(&later), (409, "exact".into()));
            // What is flagged, or was let pass, is in.
            let same = take(&app.client, &account, &of("Northwind", "F-70001", "100", "2026-03-02")).await;
            assert_eq!(verdict(&same), (409, "exact".into()));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_learned_in_one_direction_whoever_teaches_at_once() {
    let rounds = amount(4, 100);
    in_all_modes(async |app, peer| {
        let of = |vendor: &str, number: &str, total: &str, flag: bool| {
            let policy = if flag { "flag" } else { "reject" };
            json!({"vendor_name": vendor, "invoice_number": number, "total": total, "on_duplicate": policy,
                   "lines": [{"description": "Freight", "quantity": 1, "unit_price": total}]})
        };
        for round in 0..rounds {
            let account = format!("acc-{round}");
            let take = async |changes: Value| take(&app.client, &account, &changes).await.expect(201);
            take(of("Borealis Freight", "F-70001", "100", false)).await;
            take(of("Northwind Traders", "G-80002", "9000", false)).await;
            let one = take(of("Northwind Traders", "F-70001", "100", true)).await;
            let other = take(of("Borealis Freight", "G-80002", "9000", true)).await;
            let (clients, ids) = ([app.client.clone(), peer.client.clone()], [id(&one), id(&other)]);
            at_once(2, |n| {
                let (client, path) = (clients[n].clone(), format!("/invoices/{}/override", ids[n]));
                async move {
                    client.post(&path, &json!({"reason": "renamed", "same_vendor": true})).await.expect(200)
                }
            })
            .await;
            // Both names are one vendor's from now on.
            for vendor in ["Northwind Traders", "Borealis Freight"] {
                let given = invoice(&account, &of(vendor, "G-80002", "1", false));
                let again = app.client.post("/invoices", &given).await;
                assert_eq!(verdict(&again), (409, "exact".into()), "{again:?}");
            }
        }
        assert_eq!(app.count("vendor_aliases").await, rounds as i64);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_of_an_invoice_is_never_voided_and_of_a_voided_one_nothing_comes_in() {
    let rounds = amount(4, 100);
    in_all_modes(async |app, peer| {
        let clients = [app.client.clone(), peer.client.clone()];
        let a = app.client.variant(0).await;
        let sku = app.client.get(&format!("/variants/{a}")).await.json()["sku"].clone();
        let line = json!({"lines": [{"sku": sku, "description": "Bolts", "quantity": 3, "unit_price": "2"}]});
        let mut received = 0;
        for round in 0..rounds {
            let taken = take(&app.client, &format!("acc-{round}"), &line).await.expect(201);
            let path = format!("/invoices/{}", id(&taken));
            let replies = at_once(4, |n| {
                let (client, path) = (clients[n / 2].clone(), path.clone());
                async move {
                    match n % 2 {
                        0 => client.post(&format!("{path}/void"), &json!({"reason": "not ours"})).await,
                        _ => client.post(&format!("{path}/receive"), &json!({})).await,
                    }
                }
            })
            .await;
            let codes: Vec<_> = replies.iter().map(Reply::code).collect();
            let is_received = replies[1].status == 200;
            received += i64::from(is_received);
            let (void, receive) = if is_received { ("invoice_received", "") } else { ("", "invoice_voided") };
            assert_eq!(codes, [void, receive, void, receive], "{replies:?}");
        }
        assert_eq!(app.client.on_hand(a).await, 3 * received);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_batches_at_once_with_the_same_invoices_each_is_in_once() {
    let rounds = amount(1, 20);
    in_all_modes(async |app, peer| {
        let clients = [app.client.clone(), peer.client.clone()];
        for round in 0..rounds {
            let one = |n: usize| {
                invoice(
                    &format!("acc-{round}"),
                    &json!({"vendor_name": format!("{n} Street {n}"), "invoice_number": format!("N-{}", 1_000 * (n + 1)),
                            "total": format!("{}", 100 + 50 * n)}),
                )
            };
            let replies = at_once(2, |n| {
                let mut given: Vec<_> = (0..25).map(one).collect();
                if n == 1 {
                    given.reverse();
                }
                let client = clients[n].clone();
                async move { client.post("/invoices/batch", &json!({"invoices": given})).await.expect(200).json() }
            })
            .await;
            for n in 0..25 {
                let two = [&replies[0]["results"][n], &replies[1]["results"][24 - n]];
                let mut statuses: Vec<_> = two.iter().map(|result| result["status"].as_u64().unwrap()).collect();
                statuses.sort_unstable();
                assert_eq!(statuses, [201, 409], "{two:?}");
                let of = |result: &Value| match &result["invoice"]["invoice_id"] {
                    Value::Null => result["error"]["verdict"]["invoice_id"].clone(),
                    id => id.clone(),
                };
                assert_eq!(of(two[0]), of(two[1]));
            }
        }
        assert_eq!(app.count("invoices").await, 25 * rounds as i64);
    })
    .await;
}
