//! One request to somebody else, over a connection that is there, and the status it is answered with.
//!
//! What must stay true: an answer counts however the connection ends after it. Many servers close behind each answer, and
//! then both are seen at once.

use std::pin::pin;

use axum::http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Sends `request` over `stream`, and gives the status of the answer.
///
/// # Errors
/// Why there was none, in words.
pub async fn call<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let told = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    let (mut answer, mut connection) = (pin!(sender.send_request(request)), pin!(connection));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match (answer.await, ended) {
            (Err(_), Err(error)) => Err(error),
            (answer, _) => answer,
        },
    };
    answer.map(|answer| answer.status()).map_err(told)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What comes of a request to somebody who reads it, says this, and hangs up.
    async fn answered(reply: &str) -> Option<u16> {
        let (ours, mut theirs) = tokio::io::duplex(4_096);
        let request = Request::post("/").header("host", "them").body(Full::new(Bytes::from("{}"))).unwrap();
        let serve = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"{}") {
                theirs.read_buf(&mut asked).await.unwrap();
            }
            theirs.write_all(reply.as_bytes()).await.unwrap();
            drop(theirs);
        };
        tokio::join!(call(ours, request), serve).0.ok().map(|status| status.as_u16())
    }

    #[tokio::test]
    async fn an_answer_counts_though_the_connection_ends_with_it() {
        for (reply, status) in [
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", Some(200)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Some(200)),
            ("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", Some(204)),
            ("HTTP/1.0 500 No\r\nContent-Length: 0\r\n\r\n", Some(500)),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", Some(200)),
            ("HTTP/1.1 200", None),
            ("what?\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(answered(reply).await, status, "{reply:?}");
        }
    }
}
