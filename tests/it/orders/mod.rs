//! Orders.

mod cancel;
mod checkout;
mod history;
mod look_up_key;
mod place;
mod read;
