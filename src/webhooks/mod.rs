//! Webhooks: cancellations that others send, and what came of each.
//!
//! Nouns: an **event** is something that somebody tells, under an id of their choosing; each time they send it is a
//! **delivery**; the **inbox** has one **entry** an event. Verbs: [`receive`], [`replay`], both of which
//! [`deliver`]; reads: [`list_inbox`].
//!
//! What must stay true:
//! - Nothing is looked at in a body, and nothing written, before its [`signature`] is good.
//! - One effect an event, however often it is delivered or replayed: the entry and the effect commit in one
//!   transaction. A redelivery gets the first answer.
//! - An entry is kept if something was done or refused. What can't be found, is malformed or meets a fault leaves
//!   nothing behind, so that the next delivery of it can succeed.
//! - An entry is forgotten only once its order is wholly cancelled: then its event can do nothing any more, whoever
//!   sends it again. One that is refused stays until somebody sees to it.
//! - Secrets, signatures and bodies are never logged.

pub mod deliver;
pub mod error;
pub mod list_inbox;
pub mod metrics;
pub mod model;
pub mod receive;
pub mod replay;
pub mod routes;
pub mod signature;
pub mod signed;
mod store;

use std::time::Duration;

pub use self::error::WebhookError;
pub(crate) use self::store::purge_in_tx;

/// How long an event is known at least: far longer than senders go on delivering.
pub const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);
