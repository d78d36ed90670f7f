//! What people see: each page with something on it, on a desk and on a phone, by day and by night.

use crate::support::{Browser, TestApp};

#[tokio::test]
async fn an_operator_signs_in_by_the_keyboard_and_sees_how_it_goes() {
    let app = TestApp::start().await;
    let variant = app.client.variant(100).await;
    for _ in 0..20 {
        app.client.decrement(variant, 1).await.expect(200);
    }
    app.client.decrement(variant, 1_000).await.expect(409);
    let mut browser = Browser::open().await;
    browser.sign_in(&app.client).await;
    browser.until_said("Hot items").await;
    browser.until_said("two-layer").await;
    browser
        .until("[...document.querySelectorAll('.figure')].some((one) => one.innerText.includes('22 in'))")
        .await;
    browser.picture("overview").await;
    browser.dark(true).await;
    browser.picture("overview-dark").await;
    browser.narrow().await;
    browser.picture("overview-phone").await;
    browser.visit("locks").await;
    browser.until_said("Held now").await;
    browser.click("Sign out").await;
    browser.until("document.activeElement?.id === 'key' && sessionStorage.length === 0").await;
    browser.close().await;
    app.finish().await;
}
