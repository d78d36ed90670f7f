//! A reader of `GET /events`.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Client;

/// Far longer than anything takes: it only tells a slow machine from a broken promise.
const SOON: Duration = Duration::from_secs(60);

/// One event, as it was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub id: String,
    pub event: String,
    pub data: Value,
}

/// An open stream. Closed when dropped.
pub struct Stream {
    body: Incoming,
    connection: JoinHandle<hyper::Result<()>>,
    text: String,
    told: VecDeque<Told>,
    /// The id of the last event, or of the beginning.
    pub last_id: String,
}

impl Stream {
    /// From now on: what is committed after this returns is told.
    pub async fn open(client: &Client, query: &str) -> Self {
        Self::from(client, query, None).await
    }

    /// From this id on.
    pub async fn from(client: &Client, query: &str, last_id: Option<&str>) -> Self {
        Self::try_from(client, query, last_id).await.expect("a stream")
    }

    /// The same; fails if there is nobody to answer.
    pub async fn try_from(client: &Client, query: &str, last_id: Option<&str>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(client.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::get(format!("/api/v1/events{query}"))
            .header("host", "test")
            .header("authorization", format!("Bearer {}", client.key));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        anyhow::ensure!(response.status() == StatusCode::OK, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (text, told, last_id) = (String::new(), VecDeque::new(), String::new());
        let mut stream = Self { body: response.into_body(), connection, text, told, last_id };
        // It begins by saying where.
        while stream.last_id.is_empty() {
            anyhow::ensure!(stream.read().await, "it ended before it began");
        }
        Ok(stream)
    }

    /// The next event; none if the stream has ended.
    pub async fn next(&mut self) -> Option<Told> {
        timeout(SOON, async {
            loop {
                if let Some(told) = self.told.pop_front() {
                    return Some(told);
                }
                if !self.read().await {
                    return None;
                }
            }
        })
        .await
        .expect("an event within a minute")
    }

    /// The next so many events.
    pub async fn take(&mut self, events: usize) -> Vec<Told> {
        let mut taken = Vec::with_capacity(events);
        for _ in 0..events {
            taken.push(self.next().await.expect("one more event"));
        }
        taken
    }

    /// The next id, of an event or of a sign of life.
    pub async fn next_id(&mut self) -> String {
        timeout(SOON, self.read())
            .await
            .expect("a sign of life")
            .then(|| self.last_id.clone())
            .expect("no end")
    }

    /// Reads some more. False at the end.
    async fn read(&mut self) -> bool {
        let Some(Ok(frame)) = self.body.frame().await else { return false };
        self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            let (mut told, mut has_data) =
                (Told { id: String::new(), event: String::new(), data: Value::Null }, false);
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => told.id = id.to_owned(),
                    Some(("event", event)) => told.event = event.to_owned(),
                    Some(("data", data)) => {
                        (told.data, has_data) = (serde_json::from_str(data).unwrap(), true)
                    }
                    Some(("" | "retry", _)) => {}
                    _ => panic!("not a line of a stream: {line}"),
                }
            }
            self.last_id.clone_from(&told.id);
            if has_data {
                self.told.push_back(told);
            }
            self.text = rest.to_owned();
        }
        true
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
