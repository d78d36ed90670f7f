//! A plain HTTP client: one connection a request, so that nothing is hidden by a pool. Whatever it is answered must be
//! [described](super::api).

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{ADMIN_KEY, api, unique};

/// Speaks to one replica as one key.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub key: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The stable name of the error, or "" for a success.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The same reply, if its status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    pub fn was_replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

impl Client {
    pub fn admin(address: SocketAddr) -> Self {
        Self { address, key: ADMIN_KEY.to_owned() }
    }

    pub fn with_key(&self, key: &str) -> Self {
        Self { address: self.address, key: key.to_owned() }
    }

    /// A request with any method, headers and body. Fails if the connection does.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Reply> {
        let mut request = Request::builder().method(method.clone()).uri(path).header("host", "test");
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request.body(Full::new(body.into()))?).await?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        connection.abort();
        let reply = Reply { status: parts.status, headers: parts.headers, bytes };
        api::check(method.as_str(), path, &reply);
        Ok(reply)
    }

    pub async fn try_post(&self, path: &str, body: &Value, key: Option<&str>) -> anyhow::Result<Reply> {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        self.send(Method::POST, &format!("/api/v1{path}"), &headers, body.to_string()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.try_post(path, body, None).await.unwrap()
    }

    pub async fn post_keyed(&self, path: &str, body: &Value, key: &str) -> Reply {
        self.try_post(path, body, Some(key)).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, &format!("/api/v1{path}"), &[], "").await.unwrap()
    }

    /// A new variant with so many on hand, at 12.50 EUR.
    pub async fn variant(&self, on_hand: i64) -> Uuid {
        self.priced_variant(on_hand, "12.50", "EUR").await
    }

    pub async fn priced_variant(&self, on_hand: i64, price: &str, currency: &str) -> Uuid {
        let body = json!({"sku": unique("sku"), "name": "A thing", "price": price, "currency": currency, "on_hand": on_hand});
        let made = self.post("/variants", &body).await.expect(201).json();
        made["variant_id"].as_str().unwrap().parse().unwrap()
    }

    pub async fn on_hand(&self, variant_id: Uuid) -> i64 {
        self.get(&format!("/inventory/{variant_id}")).await.expect(200).json()["on_hand"].as_i64().unwrap()
    }

    pub async fn decrement(&self, variant_id: Uuid, quantity: i64) -> Reply {
        self.post(&format!("/inventory/{variant_id}/decrement"), &json!({"quantity": quantity})).await
    }

    pub async fn order(&self, user: &str, key: &str, lines: &[(Uuid, i64)]) -> Reply {
        self.post_keyed("/orders", &order_body(user, lines), key).await
    }
}

pub fn order_body(user: &str, lines: &[(Uuid, i64)]) -> Value {
    let lines: Vec<_> = lines
        .iter()
        .map(|(variant, quantity)| json!({"variant_id": variant, "quantity": quantity}))
        .collect();
    json!({"user_id": user, "lines": lines})
}
