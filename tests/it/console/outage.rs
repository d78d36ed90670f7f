//! Redis goes away while people buy: whoever looks sees it go, and come back.

use holdfast::locks::LockMode;

use crate::support::{Browser, Crowd, Private, TestApp, TestDatabase};

const QUICK_PROBE: (&str, &str) = ("HOLDFAST_BREAKER_PROBE_MS", "50");

#[tokio::test]
async fn an_outage_of_redis_is_seen_while_it_lasts_and_in_the_strip_after_it() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    let crowd = Crowd::gather(&[&app.client]).await;
    let mut browser = Browser::open().await;
    browser.sign_in(&app.client).await;
    browser.until("document.querySelector('#mode')?.innerText.includes('two-layer')").await;
    crowd.changes(20).await;

    redis.kill().await.unwrap();
    browser.until("document.querySelector('#mode').innerText.includes('database-only')").await;
    browser.until("document.querySelector('.strip rect.database-only')").await;
    browser.until("document.querySelector('.lead').innerText.includes('database-only since')").await;
    browser.picture("outage").await;

    redis.restart().await.unwrap();
    browser.until("document.querySelector('#mode').innerText.includes('two-layer')").await;
    browser
        .until(
            "document.querySelector('.strip svg').getAttribute('aria-label').includes('were database-only')",
        )
        .await;
    browser.until("document.querySelector('.lead').innerText.includes('two-layer since')").await;
    browser.picture("outage-over").await;
    // Of so many changes the oldest are not kept: the strip begins where it is known what was.
    let known = "import('/console/overview.js').then(({ knownSince }) =>
        [99, 100].map((length) => knownSince(Array.from({ length }, (_, at) => ({ at })), 'the start')))";
    assert_eq!(browser.run(known).await, serde_json::json!(["the start", 0]));
    assert_eq!(app.app.locks.mode(), LockMode::TwoLayer);
    browser.close().await;
    crowd.settle(&app.client, &app.database.pool).await;
    app.finish().await;
}
