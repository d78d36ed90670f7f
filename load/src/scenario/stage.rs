//! What all buyers of a run share; they take turns on one thread.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Baskets, Clients};
use crate::connection::Turn;
use crate::service::Signer;
use crate::verdict::{Judge, Opening};

/// All of it.
#[derive(Debug)]
pub struct Stage {
    /// What every user, key and event begins with.
    pub run: String,
    pub seed: u64,
    pub opening: Rc<Opening>,
    pub judge: RefCell<Judge>,
    pub baskets: Baskets,
    /// For webhooks, where a scenario sends any.
    pub signer: Option<Signer>,
    pub clients: Clients,
    pub turn: Turn,
}
