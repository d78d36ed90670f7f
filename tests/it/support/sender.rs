//! Somebody who knows the secret and sends webhooks. Signs by the letter of the two specifications, not with the
//! service's own code.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use hyper::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Client, Reply};

/// The secret that every service of the tests knows, unless its settings say otherwise.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const WEBHOOKS: (&str, &str) = ("HOLDFAST_WEBHOOK_SECRETS", SECRET);
pub const PATH: &str = "/api/v1/webhooks/cancellations";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends to one replica, without a key.
#[derive(Debug, Clone)]
pub struct Sender(Client);

/// Now, in seconds since 1970, and some more or less.
pub fn in_seconds(later: i64) -> String {
    (holdfast::clock::shown_now().timestamp() + later).to_string()
}

fn mac(key: &[u8], signed: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(signed).finalize().into_bytes().to_vec()
}

/// `v1,<base64>` over `id.timestamp.body`.
pub fn standard(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = BASE64_STANDARD.decode(&secret["whsec_".len()..]).unwrap();
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    format!("v1,{}", BASE64_STANDARD.encode(mac(&key, &signed)))
}

/// `t=…,v1=<hex>` over `timestamp.body`.
pub fn stripe(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let signed = [format!("{timestamp}.").as_bytes(), body].concat();
    format!("t={timestamp},v1={}", hex::encode(mac(secret.as_bytes(), &signed)))
}

/// That an order was cancelled.
pub fn cancelled(data: &Value) -> Value {
    json!({"type": "order.cancelled", "timestamp": "2026-01-01T00:00:00Z", "data": data})
}

impl Sender {
    pub fn to(client: &Client) -> Self {
        Self(client.with_key(""))
    }

    /// Any headers and any bytes.
    pub async fn send_as(&self, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_send_as(headers, body).await.unwrap()
    }

    async fn try_send_as(&self, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<Reply> {
        self.0.send(Method::POST, PATH, &[&[JSON], headers].concat(), body.to_vec()).await
    }

    /// A body, signed well and now.
    pub async fn send(&self, id: &str, body: &str) -> Reply {
        self.try_send(id, body).await.unwrap()
    }

    /// The same where nobody may be there to answer.
    pub async fn try_send(&self, id: &str, body: &str) -> anyhow::Result<Reply> {
        let now = in_seconds(0);
        let signature = standard(SECRET, id, &now, body.as_bytes());
        let headers = [("webhook-id", id), ("webhook-timestamp", &now), ("webhook-signature", &signature)];
        self.try_send_as(&headers, body.as_bytes()).await
    }

    /// Tells that an order was cancelled.
    pub async fn cancel(&self, id: &str, data: &Value) -> Reply {
        self.send(id, &cancelled(data).to_string()).await
    }

    pub async fn try_cancel(&self, id: &str, data: &Value) -> anyhow::Result<Reply> {
        self.try_send(id, &cancelled(data).to_string()).await
    }
}
