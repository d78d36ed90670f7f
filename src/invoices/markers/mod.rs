//! Processing markers: whoever reads a supplier's file says so, and nobody else reads it meanwhile.
//!
//! Verbs: [`start`], [`beat`], [`finish`], [`fail`], [`clear`]. Reads: [`read`]. Each is one of the [leases'
//! markers](crate::leases::marker), which say what must stay true; its Redis shadow is
//! `processing:{account_id}:{file_hash}`. A worker that takes the invoice in may end the marker with it, in one
//! transaction: it names the fence there.

pub mod beat;
pub mod clear;
pub mod error;
pub mod fail;
pub mod finish;
pub mod model;
pub mod read;
pub mod start;
