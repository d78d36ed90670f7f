//! Invoices: those that tills write ([`pos`]), those that suppliers send ([`intake`]), and who reads which file
//! ([`markers`]).
//!
//! The three share scope, error codes and the family of their locks, and nothing else.

pub mod audit;
pub mod intake;
pub mod markers;
pub mod pos;
pub mod routes;
