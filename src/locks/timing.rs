//! Every limit a lock or a transaction waits by, side by side, so that their order can be read and is
//! checked: a lease outlives the longest statement made under it, and a caller's wait ends before a lease
//! of the same age would.

use std::time::Duration;

/// How long Postgres lets one statement run (`statement_timeout`).
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long Postgres lets one statement wait for a row (`lock_timeout`). Longer than Postgres's own
/// `deadlock_timeout` (1 s), so that a deadlock is reported as one.
pub const ROW_LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a session may sit in a transaction without a statement before Postgres ends it.
pub const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// What a lease's TTL must exceed the statement timeout by.
pub const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Default TTL of `inventory_lock:{variant_id}`.
pub const INVENTORY_TTL: Duration = Duration::from_secs(30);
/// Default TTL of `lock:order_creation_{user_id}_{idempotency_key}`.
pub const ORDER_TTL: Duration = Duration::from_secs(60);
/// Default limit of a caller's wait for its lease.
pub const WAIT: Duration = Duration::from_secs(5);
/// Default pause between two looks at a busy Redis key: the net under a lost wake-up.
pub const RETRY: Duration = Duration::from_millis(100);
/// Default budget of one Redis call, connecting included.
pub const REDIS_TIMEOUT: Duration = Duration::from_millis(250);

/// Default number of Redis failures in a row that open the breaker.
pub const BREAKER_FAILURES: u32 = 5;
/// Default pause between two probes of an open breaker.
pub const BREAKER_PROBE: Duration = Duration::from_secs(1);

const _: () =
    assert!(ROW_LOCK_TIMEOUT.as_millis() > 1_000, "a deadlock must be seen before the row wait ends");
const _: () = assert!(ROW_LOCK_TIMEOUT.as_millis() < STATEMENT_TIMEOUT.as_millis());
const _: () =
    assert!(INVENTORY_TTL.as_millis() >= (STATEMENT_TIMEOUT.as_millis() + LEASE_MARGIN.as_millis()));
const _: () = assert!(ORDER_TTL.as_millis() >= INVENTORY_TTL.as_millis());
const _: () = assert!(WAIT.as_millis() < INVENTORY_TTL.as_millis());
const _: () = assert!(REDIS_TIMEOUT.as_millis() < WAIT.as_millis());

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
    /// Budget of one Redis call.
    pub redis_timeout: Duration,
    /// Redis failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// Pause between two probes of an open breaker.
    pub breaker_probe: Duration,
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
