//! Stock.

mod decrement;
