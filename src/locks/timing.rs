//! Every limit a lock or a transaction waits by, side by side, so that their order can be read and is
//! checked: a lease outlives the longest statement made under it, and a caller's wait ends before a lease
//! of the same age would.

use std::time::Duration;

use super::keys::LockClass;

/// How long Postgres lets one statement run (`statement_timeout`).
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long Postgres lets one statement wait for a row (`lock_timeout`). Longer than Postgres's own
/// `deadlock_timeout` (1 s), so that a deadlock is reported as one.
pub const ROW_LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a session may sit in a transaction without a statement before Postgres ends it.
pub const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a transaction of a few statements may take as the service sees it: longer than the server's limits let one
/// statement. Past that Postgres has fallen silent: its host is gone without a word, or it hangs.
pub const TRANSACTION_MAX: Duration = Duration::from_secs(15);
/// What a lease's TTL must exceed the statement timeout by.
pub const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Default TTL of `inventory_lock:{variant_id}`.
pub const INVENTORY_TTL: Duration = Duration::from_secs(30);
/// Default TTL of `lock:order_creation_{user_id}_{idempotency_key}`.
pub const ORDER_TTL: Duration = Duration::from_secs(60);
/// TTL of the locks of invoices. Shorter than a statement may run, for it is renewed while its section lives, and behind
/// it a version or a constraint is the truth.
pub const INVOICE_TTL: Duration = Duration::from_secs(5);
/// Default limit of a caller's wait for its lease.
pub const WAIT: Duration = Duration::from_secs(5);
/// Default pause between two looks at a busy Redis key: the net under a lost wake-up.
pub const RETRY: Duration = Duration::from_millis(100);
/// Default of what Redis may cost a request, its take and its release together, connecting included; and the budget of
/// any other call.
pub const REDIS_TIMEOUT: Duration = Duration::from_millis(250);

/// How often a replica says that it lives.
pub const BEAT: Duration = Duration::from_millis(250);
/// For how long a beat proves that a replica lives. Three in a row may be lost or late.
pub const LIVENESS: Duration = Duration::from_millis(1_250);
/// For how long a replica may be without a beat before it counts as dead: Redis lost the last one, and the next is due
/// sooner.
pub const BEAT_MISSED_FOR: Duration = Duration::from_millis(375);
/// How long what was found out about another replica's life is believed.
pub const LIFE_BELIEVED_FOR: Duration = Duration::from_millis(200);
/// The same of a replica whose beat is late or missing.
pub const LIFE_DOUBTED_FOR: Duration = Duration::from_millis(50);
/// Within how long the keys of a killed replica are free, if the poll is at its default.
pub const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(2);
/// The least time that a waiter keeps its place across replicas without asking again.
pub const LINGER_MIN: Duration = Duration::from_millis(500);
/// How often a lease is renewed within its TTL.
pub const RENEWALS_A_TTL: u32 = 3;

/// For how long a hold of the test endpoints can be cleared by other replicas.
pub const TEST_LOCK_NOTED: Duration = Duration::from_secs(120);
/// How long a place holder keeps other programs from a lease's key while the lease is claimed.
pub const PLACE_HOLDER_TTL: Duration = Duration::from_secs(30);

/// Default number of Redis failures in a row that open the breaker.
pub const BREAKER_FAILURES: u32 = 5;
/// Default pause between two probes of an open breaker.
pub const BREAKER_PROBE: Duration = Duration::from_secs(1);

const _: () =
    assert!(ROW_LOCK_TIMEOUT.as_millis() > 1_000, "a deadlock must be seen before the row wait ends");
const _: () = assert!(ROW_LOCK_TIMEOUT.as_millis() < STATEMENT_TIMEOUT.as_millis());
const _: () = assert!(
    STATEMENT_TIMEOUT.as_millis() < TRANSACTION_MAX.as_millis()
        && IDLE_IN_TRANSACTION_TIMEOUT.as_millis() < TRANSACTION_MAX.as_millis(),
    "where the server's limits can act, they act first"
);
const _: () =
    assert!(INVENTORY_TTL.as_millis() >= (STATEMENT_TIMEOUT.as_millis() + LEASE_MARGIN.as_millis()));
const _: () = assert!(ORDER_TTL.as_millis() >= INVENTORY_TTL.as_millis());
const _: () = assert!(WAIT.as_millis() < INVENTORY_TTL.as_millis());
const _: () = assert!(REDIS_TIMEOUT.as_millis() < WAIT.as_millis());
const _: () = assert!(
    PLACE_HOLDER_TTL.as_millis() > ROW_LOCK_TIMEOUT.as_millis() + 2 * STATEMENT_TIMEOUT.as_millis(),
    "a claim is made before its place holder ends"
);
const _: () = assert!(3 * BEAT.as_millis() < LIVENESS.as_millis());
const _: () = assert!(LIFE_BELIEVED_FOR.as_millis() + 2 * BEAT.as_millis() < LIVENESS.as_millis());
const _: () = assert!(
    LIVENESS.as_millis()
        + BEAT_MISSED_FOR.as_millis()
        + 2 * (LIFE_DOUBTED_FOR.as_millis() + RETRY.as_millis() * 5 / 4)
        < TAKEN_OVER_WITHIN.as_millis(),
    "a dead replica's beat ends, and is missed for a while"
);
const _: () = assert!(BEAT.as_millis() + 100 < BEAT_MISSED_FOR.as_millis());
const _: () = assert!(INVOICE_TTL.as_millis() / RENEWALS_A_TTL as u128 > 2 * REDIS_TIMEOUT.as_millis());
const _: () = assert!(
    INVENTORY_TTL.as_millis() / RENEWALS_A_TTL as u128 > 2 * REDIS_TIMEOUT.as_millis(),
    "a renewal that failed can be tried again before the lease ends"
);

/// The limits as configured.
#[derive(Debug, Clone)]
pub struct Timing {
    /// TTL of an inventory lock.
    pub inventory_ttl: Duration,
    /// TTL of an order lock.
    pub order_ttl: Duration,
    /// How long a caller waits for its lease.
    pub wait: Duration,
    /// Pause between two looks at a busy Redis key.
    pub retry: Duration,
    /// What Redis may cost a request, and the budget of any other call.
    pub redis_timeout: Duration,
    /// Redis failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// Pause between two probes of an open breaker.
    pub breaker_probe: Duration,
}

impl Timing {
    /// The TTL of a lock of this class.
    #[must_use]
    pub fn ttl(&self, class: LockClass) -> Duration {
        match class {
            LockClass::Order => self.order_ttl,
            LockClass::Invoice => INVOICE_TTL,
            LockClass::Inventory | LockClass::Rack | LockClass::Custom => self.inventory_ttl,
        }
    }

    /// How long a waiter keeps its place across replicas without asking again: some polls long, so that
    /// a busy process does not lose its turn, and short, so that a dead one does not hold up the line.
    #[must_use]
    pub fn linger(&self) -> Duration {
        (self.retry * 5).max(LINGER_MIN)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            inventory_ttl: INVENTORY_TTL,
            order_ttl: ORDER_TTL,
            wait: WAIT,
            retry: RETRY,
            redis_timeout: REDIS_TIMEOUT,
            breaker_failures: BREAKER_FAILURES,
            breaker_probe: BREAKER_PROBE,
        }
    }
}
