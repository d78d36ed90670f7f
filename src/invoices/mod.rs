//! Invoices: those that tills write ([`pos`]).

pub mod pos;
pub mod routes;
