//! What the tests stand on.

pub mod app;
pub mod client;
pub mod database;
pub mod replica;

pub use app::TestApp;
pub use client::{Client, Reply};
pub use database::TestDatabase;
pub use replica::Replica;

/// The key with every scope that all tests use.
pub const ADMIN_KEY: &str = "hf_test_0123456789abcdef0123456789abcdef";

/// The Redis that `make test` started.
pub fn shared_redis() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL is not set: run the tests with `make test`")
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", holdfast::ids::token())
}
