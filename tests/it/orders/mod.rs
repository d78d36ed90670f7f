//! Orders.

mod cancel;
mod look_up_key;
mod place;
mod read;
