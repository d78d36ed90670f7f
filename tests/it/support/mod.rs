//! What the tests stand on.

pub mod api;
pub mod app;
pub mod books;
pub mod browser;
pub mod campaign;
pub mod certificate;
pub mod client;
#[cfg(target_os = "linux")]
pub mod clocked;
pub mod cluster;
pub mod collector;
pub mod crowd;
pub mod database;
pub mod eventually;
pub mod history;
pub mod invariants;
pub mod link;
pub mod load;
pub mod load_program;
pub mod lock_process;
pub mod peer;
pub mod private;
pub mod program;
pub mod proxy;
pub mod races;
pub mod raw;
pub mod replica;
pub mod row;
pub mod rows;
pub mod scrape;
pub mod sender;
pub mod sentinel;
pub mod shop;
pub mod stranger;
pub mod stream;
pub mod wire;

pub use app::{QUEUES, TestApp};
pub use browser::Browser;
pub use certificate::Certificate;
pub use client::{Client, Reply};
#[cfg(target_os = "linux")]
pub use clocked::ClockedRedis;
pub use cluster::Cluster;
pub use collector::{Collector, Span};
pub use crowd::Crowd;
pub use database::TestDatabase;
pub use eventually::eventually;
pub use history::History;
pub use link::Link;
pub use load::Load;
pub use load_program::LoadProgram;
pub use lock_process::LockProcess;
pub use peer::Peer;
pub use private::Private;
pub use program::holdfast;
pub use proxy::Proxy;
pub use races::at_once;
pub use raw::send_raw;
pub use replica::Replica;
pub use row::HeldRow;
pub use rows::rows;
pub use scrape::Scrape;
pub use sender::Sender;
pub use sentinel::Watched;
pub use shop::Shop;
pub use stranger::Stranger;
pub use stream::Stream;

/// The key with every scope that all tests use.
pub const ADMIN_KEY: &str = "hf_test_0123456789abcdef0123456789abcdef";

/// The Redis that `make test` started.
pub fn shared_redis() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL is not set: run the tests with `make test`")
}

/// A port of 127.0.0.1 that was free a moment ago, below those that private servers and outgoing connections get.
pub fn free_port() -> u16 {
    loop {
        let draw = u16::from_be_bytes([holdfast::ids::random_byte(), holdfast::ids::random_byte()]);
        let port = 10_000 + draw % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", holdfast::ids::token())
}
