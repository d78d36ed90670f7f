//! Insisting, against listeners that follow a script.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::{JoinHandle, spawn};

use super::*;

/// What a listener does with a connection's one request.
enum Act {
    Break,
    Answer(&'static str),
}

const PLACED: &str =
    "HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 2\r\nlock-mode: two_layer\r\n\r\n{}";
const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 23\r\nretry-after: 1\r\n\r\n{\"code\":\"lock_timeout\"}";
const IN_FLIGHT: &str = "HTTP/1.1 409 Conflict\r\nconnection: close\r\ncontent-length: 32\r\nretry-after: 0\r\n\r\n{\"code\":\"idempotency_in_flight\"}";
const SHORT: &str = "HTTP/1.1 409 Conflict\r\nconnection: close\r\ncontent-length: 29\r\n\r\n{\"code\":\"insufficient_stock\"}";
const OVERLOADED: &str = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 21\r\n\r\n{\"code\":\"overloaded\"}";
const AWAY: &str = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";

/// A listener that takes one connection for each act; it hands back the requests as they came.
fn listener(acts: Vec<Act>) -> (Target, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let work = move || {
        acts.into_iter()
            .map(|act| {
                let (stream, _) = listener.accept().unwrap();
                let request = request(&mut BufReader::new(&stream));
                if let Act::Answer(answer) = act {
                    (&stream).write_all(answer.as_bytes()).unwrap();
                }
                request
            })
            .collect()
    };
    (Target { authority }, spawn(work))
}

/// A replica that nobody has started: nothing listens on the first port.
fn away() -> Target {
    Target { authority: "127.0.0.1:1".into() }
}

fn request(stream: &mut impl BufRead) -> String {
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        text.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text + std::str::from_utf8(&body).unwrap()
}

fn call() -> Call {
    Call::post("/api/v1/orders", "r-536365", &["a body"]).unwrap()
}

async fn insist(targets: &[Target], position: usize) -> Settled {
    Caller::new(targets, "a key").unwrap().insist(&call(), position).await
}

#[tokio::test]
async fn a_broken_try_is_said_again_word_for_word() {
    let (target, heard) = listener(vec![Act::Break, Act::Answer(AWAY), Act::Answer(PLACED)]);
    let settled = insist(&[target], 0).await;
    let causes: Vec<_> = settled.causes.iter().map(Cause::phrase).collect();
    assert_eq!(causes, ["connection lost", "503"]);
    assert!(settled.had_doubt());
    let heard = heard.join().unwrap();
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0], heard[2]);
    assert!(heard[0].contains("idempotency-key: r-536365\r\n") && heard[0].ends_with(r#"["a body"]"#));
    let answer = settled.answer.unwrap();
    assert_eq!((answer.status.as_u16(), answer.lock_mode.word()), (201, "two_layer"));
}

#[tokio::test]
async fn not_now_is_waited_for_and_leaves_no_doubt() {
    let (target, _) = listener([BUSY, IN_FLIGHT, OVERLOADED, SHORT].map(Act::Answer).into());
    let began = Instant::now();
    let settled = insist(&[target], 0).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After was not waited for");
    assert!(!settled.had_doubt());
    assert_eq!(settled.causes.len(), 3);
    assert!(settled.answer.unwrap().is_short_of_stock());
}

#[tokio::test]
async fn the_next_replica_is_asked_after_one_that_is_away() {
    let (target, heard) = listener(vec![Act::Answer(PLACED)]);
    let settled = insist(&[target, away()], 1).await;
    assert_eq!(settled.causes, [Cause::Broken(Broken::NotConnected)]);
    assert!(!settled.had_doubt() && settled.answer.is_some());
    assert_eq!(heard.join().unwrap().len(), 1);
}

#[tokio::test]
async fn patience_ends() {
    let patience = Patience { answer: Duration::from_millis(50), whole: Duration::from_millis(200) };
    let mut caller = Caller::new(&[away()], "a key").unwrap().with_patience(patience);
    let settled = caller.insist(&call(), 0).await;
    assert!(settled.answer.is_none() && !settled.causes.is_empty());
}

#[test]
fn pauses_grow_with_each_round_over_the_replicas() {
    let pauses = |targets| [0, 1, 2, 3, 100].map(|tries| backoff(tries, targets).as_millis());
    assert_eq!(pauses(1), [20, 40, 80, 160, 2_000]);
    assert_eq!(pauses(2), [20, 20, 40, 40, 2_000]);
}
