//! The shell.

mod access;
mod api;
mod bad_input;
mod examples;
mod fuzz;
mod health;
mod idempotency;
mod prefer_wait;
mod program;
mod reused_keys;
mod shell;
