//! Requests by hand, for what a well-behaved client does not do: hang up in the middle, and look at how much of
//! an answer came.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Client;

/// What came of a request on a connection that may break at any moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The whole answer: its status and body.
    Answer(u16, Vec<u8>),
    /// Not one byte: whether it was carried out is unknown.
    Nothing,
    /// Part of an answer, which must never happen.
    Part(Vec<u8>),
}

/// Sends a request and leaves it to the caller what becomes of the connection. Dropping it hangs up.
pub async fn send(
    client: &Client,
    path: &str,
    body: &Value,
    key: Option<&str>,
) -> std::io::Result<TcpStream> {
    let body = body.to_string();
    let key = key.map_or_else(String::new, |key| format!("idempotency-key: {key}\r\n"));
    let request = format!(
        "POST /api/v1{path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {}\r\n{key}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        client.key,
        body.len(),
    );
    let mut stream = TcpStream::connect(client.address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Sends a request and reads what comes until the connection ends.
pub async fn ask(client: &Client, path: &str, body: &Value, key: Option<&str>) -> Heard {
    let mut heard = Vec::new();
    if let Ok(mut stream) = send(client, path, body, key).await {
        // A reset is an end like another: what counts is what came before it.
        let _end = stream.read_to_end(&mut heard).await;
    }
    read(heard)
}

fn read(heard: Vec<u8>) -> Heard {
    if heard.is_empty() {
        return Heard::Nothing;
    }
    whole(&heard).map_or(Heard::Part(heard), |(status, body)| Heard::Answer(status, body))
}

fn whole(heard: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = heard.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&heard[..end]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let length: usize = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())?;
    let body = &heard[end + 4..];
    (body.len() == length).then(|| (status, body.to_vec()))
}

#[test]
fn a_cut_answer_is_told_from_a_whole_one_and_from_none() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(read(answer.to_vec()), Heard::Answer(200, b"ok".to_vec()));
    assert_eq!(read(Vec::new()), Heard::Nothing);
    for cut in 1..answer.len() {
        assert_eq!(read(answer[..cut].to_vec()), Heard::Part(answer[..cut].to_vec()));
    }
}
