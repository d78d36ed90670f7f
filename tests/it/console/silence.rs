//! A network that has fallen silent: nothing breaks off, and still nobody takes what was for what is.

use std::time::Duration;

use crate::support::link::Link;
use crate::support::{Browser, Client, Proxy, TestApp};

/// Sets how long the page waits.
async fn wait_for(browser: &mut Browser, limit: &str, ms: u32) {
    let set = format!("import('/console/api.js').then(({{ limits }}) => {{ limits.{limit} = {ms}; }})");
    browser.run(&set).await;
}

#[tokio::test]
async fn what_is_not_answered_is_said_to_be_from_before_until_it_is() {
    let app = TestApp::without_redis().await;
    let proxy = Proxy::before(app.client.address.port(), (Duration::ZERO, Duration::ZERO)).await;
    let client = Client { address: proxy.address, ..app.client.clone() };
    let mut browser = Browser::open().await;
    browser.sign_in(&client).await;
    browser.until("document.querySelector('.lead')?.innerText.includes('since')").await;
    wait_for(&mut browser, "read", 200).await;
    proxy.link(Link::Stalled);
    browser.until("document.querySelector('.stale')?.innerText.includes('has said nothing')").await;
    browser.until("document.querySelector('#link').innerText.includes('unreachable')").await;
    wait_for(&mut browser, "read", 20_000).await;
    proxy.link(Link::Sound);
    browser
        .until("!document.querySelector('.stale') && document.querySelector('#link').innerText === ''")
        .await;

    // Its heartbeat comes too late for this page.
    wait_for(&mut browser, "silence", 200).await;
    browser.visit("events").await;
    browser.until("document.querySelector('.lead')?.innerText.includes('broken off')").await;
    wait_for(&mut browser, "silence", 40_000).await;
    browser.until("document.querySelector('.lead').innerText.includes('connected')").await;
    browser.close().await;
    app.finish().await;
}
