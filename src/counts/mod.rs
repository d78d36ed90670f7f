//! Counting the stock of a warehouse: by many devices, some of them offline, while the shop goes on selling.
//!
//! Nouns, each a folder with the roles of a domain: [`racks`] are claimed by [`sessions`].
//!
//! What must stay true:
//! - Who holds a rack is said by its lease, `rack:lock:{rack_id}` (see [`crate::leases`]), owned by a session: two devices
//!   of one user are two sessions. A record written under a claim carries its fence, checked in the writing transaction.
//! - Locks are taken in this order: lease rows by name, sessions by id, stock rows by id.

pub mod error;
mod keyed;
pub mod model;
pub mod racks;
pub mod routes;
pub mod sessions;

pub use self::error::CountError;
