//! The shell.

mod access;
mod bad_input;
mod health;
mod idempotency;
mod prefer_wait;
mod program;
mod reused_keys;
mod shell;
