//! What a warehouse lead does from the page: several devices' counts posted as one, line by line, and their result kept.

use serde_json::{Value, json};

use super::tour::WRONGS;
use crate::support::{Browser, TestApp};

/// The cells of an item's line, as they are read.
fn cells(item: &str) -> String {
    format!(
        "[...[...document.querySelectorAll('[data-key=Variances] tbody tr')]
              .find((one) => one.cells[0].innerText === '{item}')?.cells ?? []].map((cell) => cell.innerText)"
    )
}

#[tokio::test]
async fn what_several_devices_counted_is_posted_from_the_page_as_one_count_line_by_line() {
    let app = TestApp::without_redis().await;
    let client = &app.client;
    for sku in ["BOWL", "LAMP"] {
        let made = json!({"sku": sku, "name": sku, "price": "9", "currency": "EUR", "on_hand": 12});
        client.post("/variants", &made).await.expect(201);
    }
    let record = |session: &str, rack: &str, sku: &str, units: i64| {
        json!({"client_record_id": sku, "session_id": session, "rack_id": rack, "item_code": sku, "verified_qty": units,
               "created_at": "2026-01-01T10:00:00Z", "updated_at": "2026-01-01T10:00:00Z"})
    };
    let records = [
        record("left", "R1", "BOWL", 5),
        record("left", "R1", "LAMP", 3),
        record("right,far", "R2", "BOWL", 6),
    ];
    client.post("/sync/batch", &json!({"records": records})).await.expect(200);

    let mut browser = Browser::open().await;
    browser.sign_in(client).await;
    browser.visit("counts/left").await;
    // Who counted the same items elsewhere belongs to it, unless a person says otherwise, who sees what that means.
    let with = "document.querySelector('[aria-label=\"With right,far\"]')";
    browser.until(&format!("{with}?.checked && {}[1] === '11'", cells("BOWL"))).await;
    assert_eq!(browser.run(WRONGS).await, json!([]));
    browser.picture("session-together").await;
    browser.run(&format!("{with}.click()")).await;
    browser.until(&format!("{}[1] === '5'", cells("BOWL"))).await;
    browser.until_said("counted elsewhere too").await;
    browser.run(&format!("{with}.click()")).await;
    browser.until(&format!("{}[1] === '11'", cells("BOWL"))).await;

    browser.run("document.querySelector('[aria-label=\"Decide on LAMP\"]').click()").await;
    browser.until("document.querySelector('dialog #ask-decision')").await;
    let reject = "document.querySelector('#ask-decision').value = 'reject'; document.querySelector('#ask-code').value = 'misplaced'";
    browser.run(reject).await;
    browser.click("Decide").await;
    browser.until_said("rejected: misplaced").await;

    let keep = "HTMLAnchorElement.prototype.click = () => {};
                URL.createObjectURL = (file) => { file.text().then((text) => (window.exported = text)); return ''; }; 0";
    browser.run(keep).await;
    browser.click("Export").await;
    browser.until("window.exported?.includes(',BOWL,2,11,')").await;

    browser.click("Post them …").await;
    browser.until("document.querySelector('dialog #ask-reason')").await;
    browser.click("Post it").await;
    browser.until("!document.querySelector('dialog')").await;
    browser.until_said("Of 2 items: ").await;
    browser.until_said("One count").await;
    let posted = client.get("/sessions/left/variances").await.expect(200).json();
    assert_eq!((&posted["state"], &posted["session_ids"]), (&json!("posted"), &json!(["left", "right,far"])));
    let line = |sku: &str| -> Value {
        let lines = posted["lines"].as_array().unwrap();
        lines.iter().find(|line| line["item_code"] == sku).unwrap().clone()
    };
    let seen = |sku: &str| {
        (line(sku)["outcome"].clone(), line(sku)["new_quantity"].clone(), line(sku)["reason"].clone())
    };
    assert_eq!(seen("BOWL"), (json!("posted"), json!(11), json!("counted")));
    assert_eq!(seen("LAMP"), (json!("rejected"), json!(12), json!("misplaced")));
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn rows_of_one_item_add_up_over_all_parts_in_which_the_page_sends_a_file() {
    let app = TestApp::without_redis().await;
    let made = json!({"sku": "CUP, blue", "name": "Cup", "price": "9", "currency": "EUR", "on_hand": 12});
    app.client.post("/variants", &made).await.expect(201);
    let mut browser = Browser::open().await;
    browser.sign_in(&app.client).await;
    browser.visit("counts").await;
    browser.click("Import …").await;
    browser.until("document.querySelector('dialog #ask-file')").await;
    // A thousand rows go into one part. Quotes or none: the same item.
    let rows = "'\"CUP, blue\";1\\n'.repeat(999) + 'CUP, blue;2\\n' + '\"CUP, blue\";3\\n\\nCUP, blue;4\\n'";
    let choose = format!(
        "(() => {{ const sent = new DataTransfer();
                   sent.items.add(new File(['item_code;verified_qty\\n' + {rows}], 'counts.csv'));
                   document.querySelector('#ask-file').files = sent.files;
                   document.querySelector('#ask-kind').value = 'counts';
                   document.querySelector('#ask-session_id').value = 'hall';
                   document.querySelector('#ask-counted_at').value =
                       new Date(Date.now() + 1000 - 60000 * new Date().getTimezoneOffset()).toISOString().slice(0, 19); }})()"
    );
    browser.run(&choose).await;
    browser.click("Import it").await;
    browser.until_said("1,002 of 1,002 rows; 1,002 counts are in").await;
    let seen = app.client.get("/sessions/hall/variances").await.expect(200).json();
    let line = &seen["lines"][0];
    assert_eq!((&line["records"], &line["counted_qty"]), (&json!(1_002), &json!(999 + 2 + 3 + 4)));
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn a_lead_looks_through_the_inbox_resolves_it_by_a_rule_opens_a_blind_session_and_gives_one_up() {
    const CONFLICTS: usize = 60;
    let app = TestApp::without_redis().await;
    let client = &app.client;
    let made = json!({"sku": "BOWL", "name": "Bowl", "price": "9", "currency": "EUR", "on_hand": 12});
    client.post("/variants", &made).await.expect(201);
    let odd = |n: usize| {
        json!({"client_record_id": n.to_string(), "session_id": "left", "item_code": "BOWL", "verified_qty": 1, "damage_qty": 2,
               "created_at": "2026-01-01T10:00:00Z", "updated_at": "2026-01-01T10:00:00Z"})
    };
    let records: Vec<_> = (0..CONFLICTS).map(odd).collect();
    client.post("/sync/batch", &json!({"records": records})).await.expect(200);

    let mut browser = Browser::open().await;
    browser.sign_in(client).await;
    browser.visit("counts").await;
    browser.until_said("50 or more").await;
    browser.click("Show more").await;
    let rows = "document.querySelectorAll('[data-key=\"Conflicts to resolve\"] tbody > tr').length";
    browser.until(&format!("{rows} === {CONFLICTS}")).await;
    browser.click("Resolve by a rule …").await;
    browser.until("document.querySelector('dialog #ask-strategy')").await;
    let by = "document.querySelector('#ask-strategy').value = 'server_wins';
              document.querySelector('#ask-reason').value = 'a broken scale'";
    browser.run(by).await;
    browser.click("Resolve them").await;
    browser.until_said("60 conflicts resolved.").await;
    browser.until_said("nothing needs a person").await;
    assert_eq!(app.count("count_conflicts WHERE reason = 'a broken scale'").await, CONFLICTS as i64);

    browser.click("Open a session …").await;
    browser.until("document.querySelector('dialog #ask-user_id')").await;
    let who = "document.querySelector('#ask-user_id').value = 'ann';
               document.querySelector('#ask-session_id').value = 'of-ann'";
    browser.run(who).await;
    browser.click("Open it").await;
    browser.until_said("of-ann is open for ann, who counts blind").await;
    let opened = client.get("/sessions/of-ann").await.expect(200).json();
    assert_eq!((&opened["user_id"], &opened["blind"]), (&json!("ann"), &json!(true)));

    browser.visit("counts/left").await;
    browser.click("Discard …").await;
    browser.until("document.querySelector('dialog #ask-reason')").await;
    browser.run("document.querySelector('#ask-reason').value = 'a broken scale'").await;
    browser.click("Give it up").await;
    browser.until_said("left is given up").await;
    assert_eq!(client.get("/sessions/left").await.expect(200).json()["state"], "discarded");
    browser.close().await;
    app.finish().await;
}
