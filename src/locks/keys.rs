//! What can be locked, and the one order in which it is.
//!
//! What must stay true: a [`LockKeys`] is sorted, free of repeats and bounded, and both layers take their
//! locks in its order. Variants sort by their id's bytes, which is how Postgres orders `uuid`.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::status::owner_hash;
use crate::text::Name;

/// The most keys one lease may cover: an order's 2,000 lines, and the order itself. A script of Redis hands two values of each
/// to one call, which takes no more than 8,000.
pub const MAX_KEYS: usize = 2_001;

/// What the published names of locks begin with: nothing else in Redis is a lock.
const PUBLISHED: [&str; 6] =
    ["inventory_lock:", "lock:", "rack:lock:", "session:lock:", "user:heartbeat:", "processing:"];
/// The longest name of a lock, in characters: that of an order.
const NAME_MAX_CHARS: usize = 512;
/// The longest name that a custom lock may be given.
pub const CUSTOM_MAX_CHARS: usize = 200;

/// Whether `name` is the published name of a lock.
#[must_use]
pub fn is_published(name: &str) -> bool {
    let is_short = name.chars().count() <= NAME_MAX_CHARS && !name.contains(char::is_control);
    is_short && PUBLISHED.iter().any(|start| name.starts_with(start))
}

/// One thing that is locked. The derived order is the lock order: orders, then names, then variants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKey {
    /// The placing of one order: a user and an idempotency key.
    Order(Box<(String, String)>),
    /// Whatever a verb guards by a name.
    Named(LockName),
    /// One variant's stock.
    Inventory(Uuid),
}

/// The whole name of a lock that has no row of its own. Made by [`LockKey::custom`] and [`LockKey::invoice`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockName(Box<str>);

/// A name that no custom lock may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a lock must be 1 to {CUSTOM_MAX_CHARS} visible ASCII characters, and not begin as those of orders \
     and invoices do"
)]
pub struct NotACustomName;

/// Which family a key belongs to: it decides the TTL, what its waits are counted as, and what an operator is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockClass {
    /// Placing an order.
    Order,
    /// Changing a variant's stock.
    Inventory,
    /// Somebody's racks, sessions and devices.
    Rack,
    /// Somebody's invoices.
    Invoice,
    /// Any other name.
    Custom,
}

impl LockClass {
    /// All families.
    pub const ALL: [Self; 5] = [Self::Order, Self::Inventory, Self::Rack, Self::Invoice, Self::Custom];

    /// The family of a key that is known by its published name alone.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let begins = |start| name.starts_with(start);
        if begins("inventory_lock:") {
            Self::Inventory
        } else if begins("lock:order_creation_") {
            Self::Order
        } else if begins("rack:lock:") || begins("session:lock:") || begins("user:heartbeat:") {
            Self::Rack
        } else if begins("lock:invoice_") || begins("processing:") {
            Self::Invoice
        } else {
            Self::Custom
        }
    }
}

/// A lock's name as logs may have it: that of a variant as it is; of any other, which may tell who orders what under
/// which key, its family and a hash.
#[must_use]
pub fn in_logs(name: &str) -> String {
    let family = match LockClass::of_name(name) {
        LockClass::Inventory => return name.to_owned(),
        LockClass::Order => "order",
        LockClass::Rack => "rack",
        LockClass::Invoice => "invoice",
        LockClass::Custom => "custom",
    };
    format!("{family} {}", owner_hash(name))
}

impl LockKey {
    /// The key that guards the placing of an order.
    #[must_use]
    pub fn order(user_id: &str, idempotency_key: &str) -> Self {
        Self::Order(Box::new((user_id.to_owned(), idempotency_key.to_owned())))
    }

    /// A lock on anything that has a name: `lock:{name}`.
    ///
    /// # Errors
    /// [`NotACustomName`] if it is too long or would be taken for a lock of another family.
    pub fn custom(name: &str) -> Result<Self, NotACustomName> {
        let fits = (1..=CUSTOM_MAX_CHARS).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        let whole = format!("lock:{name}");
        if fits && LockClass::of_name(&whole) == LockClass::Custom {
            Ok(Self::Named(LockName(whole.into())))
        } else {
            Err(NotACustomName)
        }
    }

    /// The key that guards an update of one invoice: `lock:invoice_lock_{name}`.
    #[must_use]
    pub fn invoice(name: &Name) -> Self {
        Self::Named(LockName(format!("lock:invoice_lock_{}", name.as_str()).into()))
    }

    /// The key that guards an upload against those that may be the same invoice: `lock:invoice_check:{account}:{key}`.
    #[must_use]
    pub fn invoice_check(account_id: &str, blocking_key: &str) -> Self {
        Self::Named(LockName(format!("lock:invoice_check:{account_id}:{blocking_key}").into()))
    }

    /// The family this key belongs to.
    #[must_use]
    pub fn class(&self) -> LockClass {
        match self {
            Self::Order(_) => LockClass::Order,
            Self::Named(name) => LockClass::of_name(&name.0),
            Self::Inventory(_) => LockClass::Inventory,
        }
    }
}

/// The key's name in Redis. Other programs share these names, so they are part of the API.
///
/// `order_creation_{user}_{key}` can name two orders at once (user `a_b` with key `c`, user `a` with key
/// `b_c`). Two such orders wait for each other and nothing else happens: the lock is a queue, not the truth.
impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(order) => write!(f, "lock:order_creation_{}_{}", order.0, order.1),
            Self::Named(name) => f.write_str(&name.0),
            Self::Inventory(variant_id) => write!(f, "inventory_lock:{variant_id}"),
        }
    }
}

/// A set of keys that is taken whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockKeys(Vec<LockKey>);

/// More keys than one lease may cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} locks are more than the {MAX_KEYS} that can be taken at once")]
pub struct TooManyKeys(pub usize);

impl LockKeys {
    /// Sorts and deduplicates `keys`.
    ///
    /// # Errors
    /// [`TooManyKeys`] if more than [`MAX_KEYS`] remain.
    pub fn new(mut keys: Vec<LockKey>) -> Result<Self, TooManyKeys> {
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > MAX_KEYS {
            return Err(TooManyKeys(keys.len()));
        }
        Ok(Self(keys))
    }

    /// The single key of one variant.
    #[must_use]
    pub fn variant(variant_id: Uuid) -> Self {
        Self(vec![LockKey::Inventory(variant_id)])
    }

    /// The keys of several variants.
    ///
    /// # Errors
    /// [`TooManyKeys`] as for [`LockKeys::new`].
    pub fn variants(ids: impl IntoIterator<Item = Uuid>) -> Result<Self, TooManyKeys> {
        Self::new(ids.into_iter().map(LockKey::Inventory).collect())
    }

    /// The keys, in lock order.
    #[must_use]
    pub fn as_slice(&self) -> &[LockKey] {
        &self.0
    }

    /// Whether `key` is among them.
    #[must_use]
    pub fn contains(&self, key: &LockKey) -> bool {
        self.0.binary_search(key).is_ok()
    }

    /// What its waits and holds are counted as: the family of its first key.
    #[must_use]
    pub fn class(&self) -> LockClass {
        self.0.first().map_or(LockClass::Inventory, LockKey::class)
    }

    /// The variants among the keys, in lock order: what the row locks are taken on.
    #[must_use]
    pub fn variant_ids(&self) -> Vec<Uuid> {
        self.0
            .iter()
            .filter_map(|key| match key {
                LockKey::Inventory(id) => Some(*id),
                LockKey::Order(_) | LockKey::Named(_) => None,
            })
            .collect()
    }

    /// The same for many at once, sorted and without repeats.
    #[must_use]
    pub fn variant_ids_of<'a>(all: impl Iterator<Item = &'a Self>) -> Vec<Uuid> {
        let mut ids: Vec<_> = all.flat_map(Self::variant_ids).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Adds keys, at most [`MAX_KEYS`] in all.
    ///
    /// # Errors
    /// [`TooManyKeys`]; then none was added.
    pub fn add(&mut self, more: impl ExactSizeIterator<Item = LockKey>) -> Result<(), TooManyKeys> {
        let all = self.0.len() + more.len();
        if all > MAX_KEYS {
            return Err(TooManyKeys(all));
        }
        for key in more {
            if let Err(place) = self.0.binary_search(&key) {
                self.0.insert(place, key);
            }
        }
        Ok(())
    }

    /// The names among the keys, in lock order: what [`lock_names_in_tx`](super::lock_names_in_tx) takes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|key| match key {
            LockKey::Named(name) => Some(&*name.0),
            LockKey::Order(_) | LockKey::Inventory(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_deduplicated_and_orders_come_first_then_names() {
        let (low, high) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let name = LockKey::custom("n").unwrap();
        let keys = LockKeys::new(vec![
            LockKey::Inventory(high),
            name.clone(),
            LockKey::Inventory(low),
            LockKey::order("u", "k"),
            LockKey::Inventory(high),
        ])
        .unwrap();
        assert_eq!(
            keys.as_slice(),
            [LockKey::order("u", "k"), name, LockKey::Inventory(low), LockKey::Inventory(high)]
        );
        assert_eq!(keys.variant_ids(), [low, high]);
        assert_eq!(keys.names().collect::<Vec<_>>(), ["lock:n"]);
    }

    #[test]
    fn more_keys_than_the_limit_are_refused_and_repeats_do_not_count() {
        let ids = |n: u128| (0..n).map(Uuid::from_u128);
        let limit = MAX_KEYS as u128;
        assert!(LockKeys::variants(ids(limit).chain(ids(limit))).is_ok());
        assert_eq!(LockKeys::variants(ids(limit + 1)), Err(TooManyKeys(MAX_KEYS + 1)));
    }

    #[test]
    fn logs_name_variants_and_no_users() {
        let variant = LockKey::Inventory(Uuid::from_u128(7)).to_string();
        assert_eq!(in_logs(&variant), variant);
        let order = LockKey::order("ann", "k-1").to_string();
        assert_eq!(in_logs(&order), format!("order {}", owner_hash(&order)));
        for name in [&order, "session:lock:ann", "user:heartbeat:ann", "lock:invoice_lock_ann", "lock:of ann"]
        {
            assert!(!in_logs(name).contains("ann"), "{name}");
        }
    }

    #[test]
    fn names_in_redis_are_the_published_ones() {
        let id = Uuid::from_u128(7);
        assert_eq!(LockKey::Inventory(id).to_string(), format!("inventory_lock:{id}"));
        assert_eq!(LockKey::order("ann", "k-1").to_string(), "lock:order_creation_ann_k-1");
        let (custom, invoice) = (
            LockKey::custom("close-of-day").unwrap(),
            LockKey::invoice(&Name::try_from("SI 1".to_owned()).unwrap()),
        );
        assert_eq!(custom.to_string(), "lock:close-of-day");
        assert_eq!(invoice.to_string(), "lock:invoice_lock_SI 1");
        assert_eq!((custom.class(), invoice.class()), (LockClass::Custom, LockClass::Invoice));
        for key in [LockKey::Inventory(id), LockKey::order("ann", "k-1"), custom, invoice] {
            assert_eq!(LockClass::of_name(&key.to_string()), key.class());
            assert!(is_published(&key.to_string()));
        }
    }
}
