//! Posts a session: nothing enters it any more → section by section, lease over some items → row locks → what was counted and
//! what moved since → rule → movements and lines → commit → when all items have their line, the session is posted.
//! Refuses a session without finalized records, and decisions on what was not counted. To post twice is the same answer; a posting that broke off goes on.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::model::{Decision, Decisions, LineDecision, Lines, NewLine, Outcome};
use super::rules::{self, Counted};
use super::store::{self, Total};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::db::{ATTEMPTS, Collides, DbError, pause_after_collision};
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::inventory::ledger::Ledger;
use crate::inventory::model::{Occasion, OnHand, Witness};
use crate::inventory::rules::{Change, Refusal};
use crate::locks::{Evidence, LockKeys};
use crate::text::{Reason, Reference, SessionId};

/// The items of one section: so long the lease is held, and no longer, while the shop wants to sell them.
const ITEMS_A_SECTION: usize = 100;
/// The most decisions of a request.
const DECISIONS_MAX: usize = 2_000;
/// What movements say that nobody gave a reason for.
const COUNTED: &str = "counted";
/// What movements say that take damaged units out.
const DAMAGED: &str = "damaged";

/// `POST /sessions/{session_id}/post`
///
/// # Errors
/// [`Problem`].
pub async fn post(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(session_id): InPath<SessionId>,
    request: Request,
) -> Result<Answer, Problem> {
    let body = Body::<Decisions>::or_default(request).await?;
    if body.value.lines.len() > DECISIONS_MAX {
        return Err(Problem::invalid("lines", format!("must be {DECISIONS_MAX} at most")));
    }
    let claim = keyed::claim_of(&caller, session_id.as_str(), body.keyed);
    Ok(post_session(&app, &caller, &session_id, &body.value, claim.as_ref()).await?)
}

/// Posts all that has no line yet.
///
/// # Errors
/// [`CountError`]; what was posted before it stays posted, and is not posted again.
async fn post_session(
    app: &App,
    caller: &Caller,
    session_id: &SessionId,
    decisions: &Decisions,
    claim: Option<&Claim>,
) -> Result<Answer, CountError> {
    let began = Instant::now();
    if let Some(claim) = claim
        && let Some(first) = idempotency::known_answer::<CountError>(&app.db, claim).await?
    {
        return Ok(first);
    }
    let (decisions, items) = freeze(app, session_id, decisions).await?;
    let by_item: HashMap<_, _> = decisions.lines.iter().map(|line| (line.item_code.as_str(), line)).collect();
    let posting = Posting { session_id, decisions: &decisions, by_item };
    let mut lock = Evidence { mode: app.locks.mode(), wait_ms: 0 };
    for section in items.chunks(ITEMS_A_SECTION) {
        lock = posting.section(app, caller, section).await?;
    }
    let mut work = match keyed::begin(app, caller, claim).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let outcome = finish_in_tx(&mut work.tx, session_id, &caller.principal.subject).await;
    Ok(work.finish(StatusCode::OK, outcome).await?.guarded(lock, began.elapsed()))
}

/// Lets nothing enter the session any more. Gives the decisions that hold, and the items to be posted.
async fn freeze(
    app: &App,
    session_id: &SessionId,
    decisions: &Decisions,
) -> Result<(Decisions, Vec<Uuid>), CountError> {
    let mut tx = app.db.begin().await?;
    let frozen = store::freeze_in_tx(&mut tx, session_id, decisions).await?;
    let frozen = frozen.ok_or_else(error::session_not_found)?;
    if frozen.is_posted {
        return Ok((frozen.decisions, Vec::new()));
    }
    let items = store::find_open_items(&mut tx, session_id).await?;
    if items.is_empty() && store::find_lines(&mut tx, session_id).await?.is_empty() {
        // Rolled back: it may still be counted in.
        return Err(error::nothing_to_post());
    }
    check_lines(&mut tx, session_id, &decisions.lines).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok((frozen.decisions, items))
}

/// Each decision is on an item that was counted, and on another one: one that is mistyped would be missed silently, and
/// its line posted all the same.
async fn check_lines(
    conn: &mut PgConnection,
    session_id: &SessionId,
    lines: &[LineDecision],
) -> Result<(), CountError> {
    let skus: Vec<_> = lines.iter().map(|line| line.item_code.as_str()).collect();
    let mut undecided = store::find_counted(conn, session_id, &skus).await?;
    for (place, sku) in skus.iter().enumerate() {
        if !undecided.remove(*sku) {
            let field = format!("lines[{place}].item_code");
            let why = "must be an item with finalized records in the session, and decided on once";
            return Err(Problem::invalid(field, why).into());
        }
    }
    Ok(())
}

struct Posting<'a> {
    session_id: &'a SessionId,
    decisions: &'a Decisions,
    by_item: HashMap<&'a str, &'a LineDecision>,
}

impl Posting<'_> {
    /// Posts some items under one lease, again if that collided.
    async fn section(&self, app: &App, caller: &Caller, items: &[Uuid]) -> Result<Evidence, CountError> {
        let keys = LockKeys::variants(items.iter().copied())?;
        let mut attempt = 1;
        loop {
            let limit = caller.patience.left();
            let lease = app.locks.acquire_within(limit, keys.clone(), &caller.gone).await?;
            let lock = lease.evidence();
            let posted = lease
                .release_after(async {
                    let mut tx = app.db.begin_within(limit).await?;
                    let (subject, request_id) = (&*caller.principal.subject, &*caller.request_id);
                    self.in_tx(&mut tx, &keys, Witness { subject, request_id, lock }).await?;
                    tx.commit().await.map_err(DbError::from)?;
                    Ok::<_, CountError>(())
                })
                .await;
            match posted {
                Ok(()) => return Ok(lock),
                Err(error) if error.collided() && attempt < ATTEMPTS => {
                    pause_after_collision(attempt).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Locks the stock rows, reads what was counted and has no line yet, and writes movements and lines.
    async fn in_tx(
        &self,
        conn: &mut PgConnection,
        keys: &LockKeys,
        witness: Witness<'_>,
    ) -> Result<(), CountError> {
        let ids = keys.variant_ids();
        let mut ledger = Ledger::lock_in_tx(conn, &ids).await?;
        let totals = store::find_totals(conn, self.session_id, Some(&ids)).await?;
        let mut lines = Vec::with_capacity(totals.len());
        for total in &totals {
            lines.push(self.settle(total, &mut ledger, witness)?);
        }
        let movements = ledger.write_in_tx(conn).await?;
        let mut movements = movements.iter().map(|movement| movement.movement_id);
        for line in &mut lines {
            line.movement_id = if line.outcome == Outcome::Posted { movements.next() } else { None };
            line.damage_movement_id = if line.takes_damaged { movements.next() } else { None };
        }
        Ok(store::write_lines_in_tx(conn, self.session_id, &lines).await?)
    }

    /// Decides what becomes of an item.
    fn settle<'w>(
        &self,
        total: &Total,
        ledger: &mut Ledger<'w>,
        witness: Witness<'w>,
    ) -> Result<NewLine, CountError> {
        let id = total.variant_id;
        let decision = self.by_item.get(total.sku.as_str());
        let reason = decision.and_then(|line| line.reason.as_ref()).or(self.decisions.reason.as_ref());
        let mut line = NewLine::of(total, reason.map(|reason| reason.as_str().to_owned()));
        let on_hand = ledger.level(id).ok_or(Refusal::VariantNotFound(id))?.on_hand;
        (line.previous_quantity, line.new_quantity) = (on_hand, on_hand);
        let Ok(settled) = rules::settle(total.counted(), on_hand) else {
            line.outcome = Outcome::OverLimit;
            return Ok(line);
        };
        (line.moved_since, line.expected_qty) = (settled.moved, settled.expected);
        let decision = decision.map(|line| line.decision);
        let is_far = |most: u32| settled.variance.unsigned_abs() > u64::from(most);
        line.outcome = match decision {
            Some(Decision::Reject) => Outcome::Rejected,
            None if self.decisions.recount_over.is_some_and(is_far) => Outcome::Recount,
            _ => Outcome::Posted,
        };
        if line.outcome != Outcome::Posted {
            return Ok(line);
        }
        let reason = reason.cloned().or_else(|| Reason::try_from(COUNTED.to_owned()).ok());
        self.set(ledger, id, settled.units, reason, witness)?;
        if settled.damaged > 0 {
            let reason = Reason::try_from(DAMAGED.to_owned()).ok();
            self.set(ledger, id, settled.units - settled.damaged, reason, witness)?;
            line.takes_damaged = true;
        }
        (line.shortfall, line.new_quantity) = (settled.shortfall, settled.units - settled.damaged);
        Ok(line)
    }

    fn set<'w>(
        &self,
        ledger: &mut Ledger<'w>,
        variant_id: Uuid,
        units: i64,
        reason: Option<Reason>,
        witness: Witness<'w>,
    ) -> Result<(), CountError> {
        let units =
            OnHand::try_from(units).map_err(|why| DbError::Unexpected(sqlx::Error::Decode(why.into())))?;
        let reference = Reference::try_from(self.session_id.as_str().to_owned()).ok();
        let occasion = Occasion { reason, reference, ..Occasion::default() };
        Ok(ledger.decide(variant_id, Change::Count(units), occasion, witness)?)
    }
}

impl Total {
    pub(super) fn counted(&self) -> Counted {
        let Self { units, damaged, went_out, came_in, .. } = *self;
        Counted { units, damaged, went_out, came_in }
    }
}

/// Notes that all is posted, and tells of it, once.
async fn finish_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
    by: &str,
) -> Result<Lines, CountError> {
    let is_new = store::finish_in_tx(conn, session_id, by).await?;
    let posted = posted(conn, session_id).await?;
    if is_new {
        let about = About::SessionNamed(session_id.as_str());
        let ended = serde_json::json!({"session_id": session_id, "state": "posted", "posted_by": by});
        let tell = [
            NewEvent::new(EventKind::CountPosted, about, &posted)?,
            NewEvent::new(EventKind::SessionEnded, about, &ended)?,
        ];
        events::append_all_in_tx(conn, &tell).await?;
    }
    Ok(posted)
}

/// What posting a session came to.
pub(super) async fn posted(conn: &mut PgConnection, session_id: &SessionId) -> Result<Lines, CountError> {
    let session = store::find(conn, session_id).await?.ok_or_else(error::session_not_found)?;
    Ok(Lines {
        session_id: session.session_id,
        state: session.state,
        posted_at: session.posted_at,
        posted_by: session.posted_by,
        open_conflicts: session.open_conflicts,
        lines: store::find_lines(conn, session_id).await?,
    })
}
