//! How many buyers are served at once: each needs one of so many clients, first come, first served.

use std::cell::RefCell;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::connection::{Caller, Target};

/// One client: a caller for each request that it may have under way at once.
pub type Client = Vec<Caller>;

/// All of them.
#[derive(Debug)]
pub struct Clients {
    free: RefCell<Vec<Client>>,
    count: Semaphore,
}

/// The most requests that one buyer has under way at once. Lines are opened when they are first needed.
const AT_ONCE: usize = 6;

impl Clients {
    /// So many, to these replicas.
    pub fn new(targets: &[Target], bearer: &str, count: usize) -> anyhow::Result<Self> {
        let clients = (0..count).map(|_| Caller::crew(targets, bearer, AT_ONCE));
        let free = clients.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { count: Semaphore::new(count), free: free.into() })
    }

    /// Waits for a free one.
    pub async fn take(&self) -> anyhow::Result<Client> {
        self.count.acquire().await?.forget();
        Ok(self.free.borrow_mut().pop().unwrap_or_default())
    }

    /// The same, until `end`.
    pub async fn take_before(&self, end: Instant) -> anyhow::Result<Option<Client>> {
        timeout_at(end.into(), self.take()).await.ok().transpose()
    }

    /// Gives one back.
    pub fn give_back(&self, client: Client) {
        self.free.borrow_mut().push(client);
        self.count.add_permits(1);
    }
}
