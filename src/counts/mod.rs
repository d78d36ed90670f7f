//! Counting the stock of a warehouse: by many devices, some of them offline, while the shop goes on selling.
//!
//! Nouns, each a folder with the roles of a domain: [`racks`] are claimed by [`sessions`], which hold the [`records`] that
//! devices send in batches; what can't be taken as it was sent is one of the [`conflicts`] that a person resolves; a
//! session's records are posted to the ledger.
//!
//! What must stay true:
//! - Who holds a rack is said by its lease, `rack:lock:{rack_id}` (see [`crate::leases`]), owned by a session: two devices
//!   of one user are two sessions. A record written under a claim carries its fence, checked in the writing transaction.
//! - Each record of a batch is judged alone, and nothing that a device sent is lost: it is kept, told to be in error, or
//!   kept as a conflict.
//! - A serial number is in one record, whatever races.
//! - A count says what was there at one of the item's movements. Posting sets stock to that plus what moved since, once,
//!   and never below zero.
//! - Locks are taken in this order: lease rows by name, sessions by id, records, serial numbers, stock rows by id.

pub mod conflicts;
pub mod error;
pub mod imports;
mod keyed;
pub mod lapses;
pub mod model;
pub mod purge;
pub mod racks;
pub mod records;
pub mod routes;
pub mod sessions;

pub use self::error::CountError;
