//! Reading holds.

use serde_json::json;

use super::{held, hold, lapse, resolve};
use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_users_holds_are_listed_newest_first_by_what_they_are_now() {
    let app = TestApp::start().await;
    let variant = app.client.variant(50).await;
    let (over, given_up, live) = (
        held(&app, &[(variant, 1)]).await,
        held(&app, &[(variant, 2)]).await,
        held(&app, &[(variant, 3)]).await,
    );
    hold(&app.client, "bob", &[(variant, 4)]).await.expect(201);
    lapse(&app, &over).await;
    resolve(&app.client, &given_up, "release", &json!({})).await.expect(200);
    let ids = async |query: &str| {
        let page = app.client.get(&format!("/holds?user_id=ann{query}")).await.expect(200).json();
        let items = page["items"].as_array().unwrap().clone();
        let ids: Vec<_> = items.iter().map(|hold| hold["hold_id"].clone()).collect();
        (ids, page["next_cursor"].clone())
    };
    let all = [&live, &given_up, &over].map(|hold| hold["hold_id"].clone());
    assert_eq!(ids("").await.0, all);
    for (state, hold) in [("held", &live), ("released", &given_up), ("expired", &over)] {
        assert_eq!(ids(&format!("&state={state}")).await.0, [hold["hold_id"].clone()]);
    }
    let (first, cursor) = ids("&limit=2").await;
    assert_eq!(first, all[..2]);
    assert_eq!(ids(&format!("&limit=2&cursor={}", cursor.as_str().unwrap())).await.0, all[2..]);
    assert_eq!(app.client.get("/holds").await.status, 422, "whose?");
    app.finish().await;
}
