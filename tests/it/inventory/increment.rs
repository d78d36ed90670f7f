//! Taking units back into stock.

use serde_json::json;

use crate::support::{TestApp, at_once};

#[tokio::test(flavor = "multi_thread")]
async fn units_that_come_back_are_a_return() {
    let app = TestApp::start().await;
    let id = app.client.variant(0).await;
    let body = json!({"quantity": 1_000_000_000, "reason": "changed their mind"});
    let movement = app.client.post(&format!("/inventory/{id}/increment"), &body).await.expect(200).json();
    assert_eq!(
        movement,
        json!({"movement_id": movement["movement_id"], "variant_id": id, "version": 1, "kind": "return",
               "delta": 1_000_000_000, "previous_quantity": 0, "new_quantity": 1_000_000_000,
               "reason": "changed their mind", "reference": null, "lock": movement["lock"],
               "created_at": movement["created_at"]})
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_and_returns_in_one_crowd_lose_no_unit() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(3).await;
        let replies = at_once(40, |runner| {
            let client = app.client.clone();
            let verb = if runner % 2 == 0 { "decrement" } else { "increment" };
            async move {
                let reply = client.post(&format!("/inventory/{id}/{verb}"), &json!({"quantity": 2})).await;
                (verb, reply)
            }
        })
        .await;
        let mut on_hand = 3;
        for (verb, reply) in &replies {
            match (*verb, reply.status.as_u16()) {
                ("decrement", 200) => on_hand -= 2,
                ("increment", 200) => on_hand += 2,
                ("decrement", 409) => assert_eq!(reply.code(), "insufficient_stock"),
                _ => panic!("{reply:?}"),
            }
        }
        assert_eq!(app.client.on_hand(id).await, on_hand);
        app.finish().await;
    }
}
