//! Stock.

mod adjust;
mod audit;
mod batch;
mod check_stock;
mod create_variant;
mod decrement;
mod increment;
mod levels;
mod plants;
