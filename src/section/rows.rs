//! What a section locks, in the order in which everybody does, and what it reads there: orders that are cancelled → holds
//! that are captured → stock rows.
//!
//! What must stay true: a section waits for a row only if each of its requests needs it, and takes of the rest what nobody
//! has locked; it waits for nothing out of order, so nobody waits in a circle. Whoever lacks a row runs alone.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::share::{Request, Work};
use super::together::{Failed, Joined};
use crate::db::DbError;
use crate::holds::model::Hold;
use crate::holds::store as holds;
use crate::idempotency::Claim;
use crate::inventory::ledger::Ledger;
use crate::inventory::store as stock;
use crate::locks::{LockKey, LockKeys};
use crate::orders::model::Order;
use crate::orders::rules::Offered;
use crate::orders::store::{self as orders, LockedTogether};

/// What a section decides on.
pub(super) struct Rows<'a> {
    pub(super) ledger: Ledger<'a>,
    pub(super) catalogue: HashMap<Uuid, Offered>,
    /// Whose orders were cancelled before they came.
    pub(super) cancelled: HashSet<usize>,
    /// Whose orders were placed so long ago that their answers are forgotten.
    pub(super) placed: HashSet<usize>,
    /// What is to be cancelled, as the decisions so far leave it.
    pub(super) orders: HashMap<Uuid, Order>,
    /// What is to be captured, as the decisions so far leave it.
    pub(super) holds: HashMap<Uuid, Hold>,
}

/// Locks the rows that those still to be carried out need, and reads what they decide on.
pub(super) async fn lock<'a>(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    running: &[usize],
    may_wait: bool,
) -> Result<Rows<'a>, Failed> {
    let requests: Vec<_> = running.iter().map(|index| joined[*index].request).collect();
    let cancelled = lock_orders(conn, Wanted::of(joined, &requests, cancels), may_wait).await?;
    let captured = lock_holds(conn, Wanted::of(joined, &requests, captures), may_wait).await?;
    let placing: Vec<_> =
        running.iter().filter_map(|index| Some((*index, claims_order(joined[*index].request)?))).collect();
    let claims: Vec<_> = placing.iter().map(|(_, claim)| *claim).collect();
    let locked = lock_levels(conn, joined, &requests, &claims, may_wait).await?;
    let whose =
        |places: Vec<usize>| places.into_iter().filter_map(|place| Some(placing.get(place)?.0)).collect();

    let (mut orders, mut holds) = (HashMap::new(), HashMap::new());
    if !cancelled.is_empty() {
        let found = orders::find_orders(conn, &cancelled).await.map_err(Failed::inside)?;
        orders.extend(found.into_iter().map(|order| (order.order_id, order)));
    }
    // After the stock rows are locked: whether a hold is over is asked last.
    if !captured.is_empty() {
        let found = holds::find_holds(conn, &captured).await.map_err(Failed::inside)?;
        holds.extend(found.into_iter().map(|hold| (hold.hold_id, hold)));
    }
    Ok(Rows {
        ledger: Ledger::over(locked.levels.into_values()),
        catalogue: locked.catalogue,
        cancelled: whose(locked.cancelled),
        placed: whose(locked.placed),
        orders,
        holds,
    })
}

fn cancels(request: &Request) -> Option<Uuid> {
    match &request.work {
        Work::Cancel(cancelling) => Some(cancelling.order_id),
        _ => None,
    }
}

fn captures(request: &Request) -> Option<Uuid> {
    match &request.work {
        Work::Capture(capturing) => Some(capturing.hold_id),
        _ => None,
    }
}

/// The key of the order that a request makes, if it makes one.
fn claims_order(request: &Request) -> Option<&Claim> {
    match &request.work {
        Work::Place(placing) => Some(&placing.claim),
        Work::Capture(capturing) => Some(&capturing.claim),
        Work::Change(_) | Work::Cancel(_) => None,
    }
}

/// The rows of one table that requests need, one each.
struct Wanted {
    ids: Vec<Uuid>,
    /// The one that all of them need.
    by_all: Option<Uuid>,
}

impl Wanted {
    fn of(joined: &[Joined<'_>], running: &[&Request], which: fn(&Request) -> Option<Uuid>) -> Self {
        let mut ids: Vec<_> = running.iter().copied().filter_map(which).collect();
        let all_need_one = ids.len() == joined.len();
        ids.sort_unstable();
        ids.dedup();
        let by_all = ids.first().copied().filter(|_| all_need_one && ids.len() == 1);
        Self { ids, by_all }
    }

    /// Those that were locked, unless it is worth a wait.
    fn or_wait(&self, locked: Vec<Uuid>, may_wait: bool) -> Result<Vec<Uuid>, Failed> {
        if !may_wait && self.by_all.is_some() && locked.is_empty() {
            Err(Failed::WouldWait)
        } else {
            Ok(locked)
        }
    }
}

async fn lock_orders(conn: &mut PgConnection, wanted: Wanted, may_wait: bool) -> Result<Vec<Uuid>, Failed> {
    match wanted.by_all {
        _ if wanted.ids.is_empty() => Ok(Vec::new()),
        Some(order_id) if may_wait => {
            orders::lock_order_in_tx(conn, order_id).await.map_err(waited)?;
            Ok(wanted.ids)
        }
        _ => {
            let locked = orders::lock_free_orders_in_tx(conn, &wanted.ids).await.map_err(Failed::inside)?;
            wanted.or_wait(locked, may_wait)
        }
    }
}

async fn lock_holds(conn: &mut PgConnection, wanted: Wanted, may_wait: bool) -> Result<Vec<Uuid>, Failed> {
    match wanted.by_all {
        _ if wanted.ids.is_empty() => Ok(Vec::new()),
        Some(hold_id) if may_wait => {
            holds::lock_row_in_tx(conn, hold_id).await.map_err(waited)?;
            Ok(wanted.ids)
        }
        _ => {
            let locked = holds::lock_free_holds_in_tx(conn, &wanted.ids).await.map_err(Failed::inside)?;
            wanted.or_wait(locked, may_wait)
        }
    }
}

/// The levels, and with them what orders need that are placed by `claims`.
async fn lock_levels(
    conn: &mut PgConnection,
    joined: &[Joined<'_>],
    running: &[&Request],
    claims: &[&Claim],
    may_wait: bool,
) -> Result<LockedTogether, Failed> {
    // Only what all of them need, also those who have their answers, is worth a wait, and is waited for first: nobody waits
    // who has locked a row out of order.
    let all_need = |id: &Uuid| {
        let key = LockKey::Inventory(*id);
        joined.iter().all(|joined| joined.request.keys().contains(&key))
    };
    let ids = LockKeys::variant_ids_of(running.iter().map(|request| request.keys()));
    let mut levels = HashMap::new();
    let mut rest = ids.clone();
    if may_wait {
        let needed: Vec<_> = rest.extract_if(.., |id| all_need(id)).collect();
        levels = stock::lock_levels_in_tx(conn, &needed).await.map_err(waited)?;
    }
    // Orders are told with their levels what these cost, and so read again what is locked already.
    let locked = if !claims.is_empty() {
        orders::lock_free_items_in_tx(conn, &ids, claims).await.map_err(Failed::inside)?
    } else {
        if !rest.is_empty() {
            levels.extend(stock::lock_free_levels_in_tx(conn, &rest).await.map_err(Failed::inside)?);
        }
        LockedTogether { levels, ..LockedTogether::default() }
    };
    if !may_wait && ids.iter().any(|id| !locked.levels.contains_key(id) && all_need(id)) {
        return Err(Failed::WouldWait);
    }
    Ok(locked)
}

/// All of them needed the row, so all whose time is over are told that it stayed locked.
fn waited(error: DbError) -> Failed {
    match error {
        DbError::RowLocked(_) => Failed::ForAll(error),
        error => Failed::inside(error),
    }
}
