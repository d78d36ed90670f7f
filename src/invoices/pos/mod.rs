//! Invoices of tills: several tills edit one by its name, one of them sells it.
//!
//! Nouns: an **invoice** has **versions**, each of which has **items**. Verbs: [`save`] makes it or writes its next
//! version; [`submit`] sells its items; [`take_back`] brings them back. Reads: [`read`].
//!
//! What must stay true:
//! - An edit says which version it was made from, and is accepted only if that is the newest: no till overwrites what
//!   it has not seen. That check, on the locked row, is the truth; `lock:invoice_lock_{name}` only lets tills go one by
//!   one.
//! - Every accepted edit stays in the history, which counts without a gap.
//! - An invoice is sold once, all of it or none, and brought back once. What was sold is edited no more.

pub mod error;
pub mod model;
pub mod read;
pub mod rules;
pub mod save;
mod store;
pub mod submit;
pub mod take_back;
