//! Orders.

mod cancel;
mod history;
mod look_up_key;
mod place;
mod read;
