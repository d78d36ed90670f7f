//! What people see: each page with something on it, on a desk and on a phone, by day and by night; whether those who can't
//! see it, or can't point at it, are served as well; and what can be done from it.

use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Browser, Client, Private, Sender, TestApp, TestDatabase};

/// However slow the machine is.
pub(super) const SETTINGS: &[(&str, &str)] =
    &[("HOLDFAST_REDIS_TIMEOUT_MS", "1000"), ("HOLDFAST_WEBHOOK_ALLOW_PRIVATE", "true")];

/// What is wrong with the page for those who hear it, or see little: an empty list.
pub(super) const WRONGS: &str = "(() => {
    const wrong = [];
    const named = (one) => one.getAttribute('aria-label') || one.innerText?.trim()
        || [...(one.labels ?? [])].map((label) => label.innerText).join('');
    for (const one of document.querySelectorAll('button, a, input, select, textarea'))
        if (!named(one)) wrong.push(`nameless: ${one.outerHTML}`);
    for (const one of document.querySelectorAll('svg'))
        if (one.getAttribute('role') !== 'img' || !one.getAttribute('aria-label')) wrong.push('a drawing without words');
    for (const one of document.querySelectorAll('img')) if (!one.hasAttribute('alt')) wrong.push('an image without words');
    for (const one of document.querySelectorAll('th')) if (one.scope !== 'col') wrong.push('a heading of nothing');
    if (document.querySelectorAll('h1').length !== 1) wrong.push('not one heading of all');
    for (const landmark of ['header', 'nav[aria-label]', 'main'])
        if (!document.querySelector(landmark)) wrong.push(`no ${landmark}`);
    const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
    if (new Set(ids).size !== ids.length) wrong.push(`ids that are there twice: ${ids}`);
    if (document.documentElement.scrollWidth > innerWidth) wrong.push('wider than the screen');
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = parts(colour).map((part) => part / 255)
            .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const under = (one) => {
        const [, , , solid = 1] = parts(getComputedStyle(one).backgroundColor);
        return solid === 1 || !one.parentElement ? getComputedStyle(one).backgroundColor : under(one.parentElement);
    };
    for (const one of document.querySelectorAll('body *')) {
        const says = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!says || !one.checkVisibility() || one.matches(':disabled, noscript')) continue;
        const [high, low] = [light(getComputedStyle(one).color), light(under(one))].sort((a, b) => b - a);
        if ((high + 0.05) / (low + 0.05) < 4.5) wrong.push(`hard to read: ${one.innerText.slice(0, 40)}`);
    }
    return wrong;
})()";

/// A shop in which something of everything has happened.
struct Scene {
    order: String,
    variant: Uuid,
    session: String,
    flagged: String,
    rack: String,
}

async fn set(client: &Client) -> Scene {
    let made = json!({"sku": "GLOBE-1", "name": "Globe <b>& co</b>", "price": "139.00", "currency": "EUR", "on_hand": 100});
    let variant = client.post("/variants", &made).await.expect(201).json()["variant_id"].clone();
    let variant: Uuid = serde_json::from_value(variant).unwrap();
    client.decrement(variant, 3).await.expect(200);
    client.decrement(variant, 1_000).await.expect(409);
    let endpoint = json!({"url": "http://127.0.0.1:9/hooks", "types": ["order.*"]});
    client.post("/webhook-endpoints", &endpoint).await.expect(201);
    let order = client.order("ann", "till-7-receipt-1", &[(variant, 5)]).await.expect(201).json();
    let line = json!([{"line_id": order["lines"][0]["line_id"], "quantity": 2}]);
    let order = order["order_id"].as_str().unwrap().to_owned();
    let cancel = json!({"reason": "one too many", "lines": line});
    client.post(&format!("/orders/{order}/cancel"), &cancel).await.expect(200);
    Sender::to(client)
        .cancel("msg_7", &json!({"order_id": order, "reason": "payment failed"}))
        .await
        .expect(200);

    let rack = "A-01".to_owned();
    let claim =
        client.post(&format!("/racks/{rack}/claim"), &json!({"floor": "Ground"})).await.expect(200).json();
    let session = claim["session_id"].as_str().unwrap().to_owned();
    let record = |id: &str, units: i64| {
        json!({"client_record_id": id, "session_id": session, "rack_id": rack, "item_code": "GLOBE-1", "verified_qty": units,
               "serial_numbers": ["SN-1"], "created_at": "2026-01-01T10:00:00Z", "updated_at": "2026-01-01T10:00:00Z"})
    };
    client.post("/sync/batch", &json!({"records": [record("r1", 90), record("r2", 4)]})).await.expect(200);

    let invoice = |number: &str| {
        json!({"account_id": "acc", "vendor_name": "Brass & Sons", "invoice_number": number, "invoice_date": "2026-03-02",
               "total": "1210.00", "currency": "EUR", "on_duplicate": "flag",
               "lines": [{"sku": "GLOBE-1", "description": "Globes", "quantity": 10, "unit_price": "121.00"}]})
    };
    client.post("/invoices", &invoice("INV-10482")).await.expect(201);
    let flagged = client.post("/invoices", &invoice("lNV-1O48Z")).await.expect(201).json();
    assert_eq!(flagged["state"], "flagged");
    let till = json!({"version": 0, "items": [{"variant_id": variant, "quantity": 1}]});
    client
        .send(
            Method::PUT,
            "/api/v1/pos/invoices/till-7",
            &[("content-type", "application/json")],
            till.to_string(),
        )
        .await
        .unwrap()
        .expect(201);
    client.get("/inventory/audit").await.expect(200);
    let flagged = flagged["invoice_id"].as_str().unwrap().to_owned();
    Scene { order, variant, session, flagged, rack }
}

/// What each page says once it is there.
fn pages(scene: &Scene) -> Vec<(String, &'static str, Vec<&'static str>)> {
    vec![
        (String::new(), "overview", vec!["Writes, p50", "GLOBE-1", "Nobody waits for a lock in Postgres"]),
        ("locks".into(), "locks", vec!["rack:lock:A-01", "Held for"]),
        ("stock".into(), "stock", vec!["GLOBE-1", "Globe <b>& co</b>"]),
        (format!("stock/{}", scene.variant), "item", vec!["Movements", "payment failed", "in stock"]),
        ("orders".into(), "orders", vec!["ann", "cancelled"]),
        (
            format!("orders/{}", scene.order),
            "order",
            vec!["till-7-receipt-1", "kept: status 201", "one too many", "msg_7"],
        ),
        ("counts".into(), "counts", vec!["A-01", "0 of 1", "duplicate serial", "open"]),
        (
            format!("counts/{}", scene.session),
            "session",
            vec!["GLOBE-1", "-7", "SN-1", "Conflicts of this session"],
        ),
        ("invoices".into(), "invoices", vec!["lNV-1O48Z", "flagged"]),
        (format!("invoices/{}", scene.flagged), "invoice", vec!["May be the same as INV-10482", "alike"]),
        ("invoices/till/till-7".into(), "till", vec!["draft", "GLOBE-1"]),
        ("events".into(), "events", vec!["connected"]),
        ("webhooks".into(), "webhooks", vec!["http://127.0.0.1:9/hooks", "msg_7"]),
        ("audit".into(), "audit", vec!["all agrees", "admin"]),
    ]
}

async fn show(browser: &mut Browser, scene: &Scene, as_seen: &str) {
    for (page, name, says) in pages(scene) {
        browser.visit(&page).await;
        for text in says {
            browser.until_said(text).await;
        }
        assert_eq!(browser.run(WRONGS).await, json!([]), "{name}, {as_seen}");
        browser.picture(&format!("{name}{as_seen}")).await;
    }
}

#[tokio::test]
async fn each_page_says_what_is_and_can_be_read_by_everybody_on_a_desk_and_on_a_phone_by_day_and_by_night() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), SETTINGS).await;
    let scene = set(&app.client).await;
    let mut browser = Browser::open().await;
    browser.sign_in(&app.client).await;
    show(&mut browser, &scene, "").await;
    browser.dark(true).await;
    browser.narrow().await;
    show(&mut browser, &scene, "-phone-dark").await;

    // What comes while one looks is told at once.
    browser.visit("events").await;
    browser.until_said("connected").await;
    app.client.decrement(scene.variant, 4).await.expect(200);
    browser.until_said("sale -4").await;
    browser.visit("stock").await;
    browser.until("document.querySelector('[name=sku]')").await;
    browser.run("document.querySelector('[name=sku]').focus()").await;
    browser.write("GLO").await;
    browser.press("Enter").await;
    browser.until(&format!("location.hash === '#/stock/{}'", scene.variant)).await;
    browser.click("Sign out").await;
    browser.until("document.activeElement?.id === 'key' && sessionStorage.length === 0").await;
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn what_is_done_from_it_is_done_once_and_with_its_reason_on_record() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), SETTINGS).await;
    let (client, scene) = (&app.client, set(&app.client).await);
    let mut browser = Browser::open().await;
    browser.sign_in(client).await;

    // Without a reason nothing is done; the keyboard is enough; Escape leaves it.
    browser.visit("locks").await;
    let release = format!("document.querySelector('[aria-label=\"Release rack:lock:{}\"]')", scene.rack);
    browser.until(&release).await;
    browser.run(&format!("{release}.click()")).await;
    browser.until("document.activeElement?.id === 'ask-reason'").await;
    browser.press("Enter").await;
    browser.press("Escape").await;
    browser.until("!document.querySelector('dialog')").await;
    assert_eq!(app.count("lock_releases").await, 0);
    browser.run(&format!("{release}.click()")).await;
    browser.until("document.activeElement?.id === 'ask-reason'").await;
    browser.write("its device fell into the harbour").await;
    browser.press("Enter").await;
    browser.until_said("Released rack:lock:A-01").await;
    browser.until_said("Nobody holds a lock").await;
    let kept: (String, String) = sqlx::query_as("SELECT reason, subject FROM lock_releases")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert_eq!(kept, ("its device fell into the harbour".into(), "admin".into()));

    browser.visit(&format!("invoices/{}", scene.flagged)).await;
    answer(&mut browser, "Let it pass …", "two deliveries", "Let it pass").await;
    browser.until_said("overridden").await;
    let invoice = client.get(&format!("/invoices/{}", scene.flagged)).await.expect(200).json();
    assert_eq!(
        (&invoice["state"], &invoice["decisions"][0]["reason"]),
        (&json!("overridden"), &json!("two deliveries"))
    );

    browser.visit("counts").await;
    answer(&mut browser, "Resolve", "the first one is right", "Resolve").await;
    browser.until_said("nothing needs a person").await;
    let conflicts = client.get("/sync/conflicts?state=resolved").await.expect(200).json();
    assert_eq!(conflicts["items"][0]["reason"], "the first one is right");

    let endpoints = client.get("/webhook-endpoints").await.expect(200).json();
    let endpoint = endpoints["items"][0]["endpoint_id"].as_str().unwrap();
    browser.visit(&format!("webhooks/{endpoint}")).await;
    answer(&mut browser, "Send all given up again", "it is mended", "Send again").await;
    browser.until_said("0 sent again").await;
    let kept: (Option<String>, String) = sqlx::query_as("SELECT reason, subject FROM delivery_replays")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert_eq!(kept, (Some("it is mended".into()), "admin".into()));

    browser.visit("audit").await;
    browser.click("Run the audit").await;
    browser.click("Run it").await;
    browser.until_said("The audit found nothing").await;
    let audits: Value = client.get("/inventory/audits").await.expect(200).json();
    assert_eq!(audits["items"].as_array().unwrap().len(), 2);
    browser.close().await;
    app.finish().await;
}

#[tokio::test]
async fn a_file_comes_in_by_parts_and_the_page_says_how_far_it_is_and_what_was_not_taken() {
    let app = TestApp::without_redis().await;
    app.client.variant(9).await;
    let mut browser = Browser::open().await;
    browser.sign_in(&app.client).await;
    browser.visit("counts").await;
    // Two parts, a line break between quotes, and a row of a kind that is refused in the second.
    let rows: String = (0..600).map(|row| format!("B-{row:03},1,Shelf\\n")).collect();
    let file =
        format!("rack_id,floor,name\\n{rows}B-700,,\\nB-701,1,\"two\\nlines\"\\nB-702,1\\nB-703,1,last\\n");
    // The answer to the first part is lost on its way.
    let lose = "window.keys = []; const real = fetch;
        fetch = async (path, given) => {
            const answer = await real(path, given);
            if (!path.includes('/import')) return answer;
            keys.push(given.headers['idempotency-key']);
            return keys.length > 1 ? answer : new Response('', { status: 502, headers: { 'retry-after': '0.01' } });
        }; 0";
    browser.run(lose).await;
    browser.click("Import …").await;
    browser.until("document.querySelector('dialog #ask-file')").await;
    let choose = format!(
        "(() => {{ const sent = new DataTransfer(); sent.items.add(new File(['{file}'], 'racks.csv'));
                   document.querySelector('#ask-file').files = sent.files; }})()"
    );
    browser.run(&choose).await;
    browser.click("Import it").await;
    browser.until_said("604 of 604 rows; 601 racks are in, 3 rows are not").await;
    browser.until_said("floor: is required").await;
    browser.until_said("a line break in a cell").await;
    assert_eq!(browser.run(WRONGS).await, json!([]));
    browser.picture("import").await;
    let lines =
        "[...document.querySelectorAll('[data-key^=import-] tbody tr')].map((one) => one.cells[0].innerText)";
    assert_eq!(browser.run(lines).await, json!(["602", "603", "605"]));
    assert_eq!(app.count("racks").await, 601);
    let as_often = "[keys.length, new Set(keys).size, keys[0] === keys[1]]";
    assert_eq!(browser.run(as_often).await, json!([3, 2, true]));
    // It goes on, and is told of, whatever page was looked at meanwhile.
    browser.visit("stock").await;
    browser.until("!document.body.innerText.includes('604 of 604')").await;
    browser.visit("counts").await;
    browser.until_said("604 of 604 rows").await;
    browser.click("Close").await;
    browser.until("!document.body.innerText.includes('604 of 604')").await;
    browser.close().await;
    app.finish().await;
}

/// Presses a button, says why, and confirms.
pub(super) async fn answer(browser: &mut Browser, button: &str, why: &str, confirm: &str) {
    browser.click(button).await;
    browser.until("document.querySelector('dialog #ask-reason')").await;
    browser.run("document.querySelector('#ask-reason').focus()").await;
    browser.write(why).await;
    browser.click(confirm).await;
    browser.until("!document.querySelector('dialog')").await;
}

#[tokio::test]
async fn a_key_opens_its_own_pages_and_no_others() {
    let app = TestApp::without_redis().await;
    let lead = app.client_of("lena", &[holdfast::http::auth::Scope::Warehouse]).await;
    let mut browser = Browser::open().await;
    browser.sign_in(&lead).await;
    let pages = browser.run("[...document.querySelectorAll('nav a')].map((one) => one.innerText)").await;
    assert_eq!(pages, json!(["Stock", "Counting", "Events"]));
    browser.visit("counts").await;
    browser.until_said("No rack is registered").await;
    browser.visit("locks").await;
    browser.until_said("your key does not open it").await;
    browser.close().await;
    app.finish().await;
}
