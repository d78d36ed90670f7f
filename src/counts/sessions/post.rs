//! Posts a session, or several as one count: nothing enters them any more → section by section, lease over some items → row
//! locks → what was counted and what moved since → rule → movements and lines → commit → when all items have their line,
//! the sessions are posted.
//! Refuses sessions without finalized records or that are posted otherwise, and decisions on what was not counted. To post
//! twice is the same answer; a posting that broke off goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::model::{Decision, Decisions, LineDecision, Lines, NewLine, Outcome};
use super::rules::{self, Against, Counted};
use super::store::{self, Frozen, Posted, Tally, Total, Within};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::counts::racks::let_go::{check_let_go_in_tx, let_go_in_tx};
use crate::db::{DbError, run_again_if_it_collides};
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::answer::Answer;
use crate::http::auth::{Caller, Principal, Scope};
use crate::http::extract::{InPath, OrDefault};
use crate::http::page::Limit;
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
pub(super) const DECISIONS_MAX: usize = 2_000;
/// The most sessions of one count, besides the one in whose name it is posted.
pub(super) const SESSIONS_MAX: usize = 500;
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
    OrDefault(body): OrDefault<Decisions>,
) -> Result<Answer, Problem> {
    if body.value.lines.len() > DECISIONS_MAX {
        return Err(Problem::invalid("lines", format!("must be {DECISIONS_MAX} at most")));
    }
    if body.value.session_ids.len() > SESSIONS_MAX {
        return Err(Problem::invalid("session_ids", format!("must be {SESSIONS_MAX} at most")));
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
    let (posted_as, frozen, items) =
        run_again_if_it_collides(|| freeze(app, caller, session_id, decisions)).await?;
    let by_item = frozen.decisions.lines.iter().map(|line| (line.item_code.as_str(), line)).collect();
    let posting = Posting { posted_as: &posted_as, frozen: &frozen, by_item };
    let mut lock = Evidence { mode: app.locks.mode(), wait_ms: 0 };
    for section in items.chunks(ITEMS_A_SECTION) {
        lock = posting.section(app, caller, section).await?;
    }
    if !frozen.is_posted {
        super::free_serials(app, &frozen.sessions).await?;
    }
    let answer = run_again_if_it_collides(|| finish(app, caller, &posted_as, claim)).await?;
    Ok(answer.guarded(lock, began.elapsed()))
}

async fn finish(
    app: &App,
    caller: &Caller,
    posted_as: &str,
    claim: Option<&Claim>,
) -> Result<Answer, CountError> {
    let mut work = match keyed::begin(app, caller, claim).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let outcome = finish_in_tx(&mut work.tx, posted_as, &caller.principal.subject).await;
    work.finish(StatusCode::OK, outcome).await
}

/// Lets nothing enter the sessions any more, and their racks go. Gives in whose name what is posted, and the items that are left.
async fn freeze(
    app: &App,
    caller: &Caller,
    session_id: &SessionId,
    decisions: &Decisions,
) -> Result<(String, Frozen, Vec<Uuid>), CountError> {
    let mut tx = app.db.begin().await?;
    let named: BTreeSet<_> =
        decisions.session_ids.iter().chain([session_id]).map(SessionId::as_str).collect();
    let named: Vec<_> = named.into_iter().collect();
    let racks = let_go_in_tx(&mut tx, &named).await?;
    let posted_as = freeze_in_tx(&mut tx, &caller.principal, session_id, &named, decisions).await?;
    check_let_go_in_tx(&mut tx, &named).await?;
    let frozen = store::find_frozen(&mut tx, &posted_as).await?;
    let items = if frozen.is_posted {
        Vec::new()
    } else {
        let items = store::find_open_items(&mut tx, &frozen.sessions, &posted_as, Within::default()).await?;
        let one = Within { limit: Some(1), ..Within::default() };
        if items.is_empty() && store::find_lines(&mut tx, &posted_as, one).await?.is_empty() {
            // Rolled back: they may still be counted in.
            return Err(error::nothing_to_post());
        }
        check_lines(&mut tx, &frozen.sessions, &decisions.lines).await?;
        items
    };
    tx.commit().await.map_err(DbError::from)?;
    racks.fade(app).await;
    Ok((posted_as, frozen, items))
}

/// Locks the sessions, and freezes them in the name of the first, unless that is being posted already: then the others are
/// among those that are posted with it.
async fn freeze_in_tx(
    conn: &mut PgConnection,
    by: &Principal,
    session_id: &SessionId,
    named: &[&str],
    decisions: &Decisions,
) -> Result<String, CountError> {
    let found = store::lock_to_post_in_tx(conn, named).await?;
    let first = found.iter().find(|session| session.session_id == session_id.as_str());
    let posted_as = first.ok_or_else(error::session_not_found)?.posted_as.clone();
    if let Some(place) = decisions
        .session_ids
        .iter()
        .position(|id| found.iter().all(|session| session.session_id != id.as_str()))
    {
        return Err(Problem::invalid(format!("session_ids[{place}]"), "is no session").into());
    }
    if let Some(posted_as) = posted_as {
        let are_one = found.iter().all(|session| session.posted_as.as_ref() == Some(&posted_as));
        return if are_one { Ok(posted_as) } else { Err(error::session_posted()) };
    }
    let is_own = |session: &Posted| session.blind && session.user_id == *by.subject;
    if found.iter().any(is_own) && !by.scopes.contains(&Scope::Operator) {
        return Err(error::blind_session());
    }
    if found.iter().any(|session| session.is_over) {
        return Err(error::session_posted());
    }
    store::freeze_in_tx(conn, named, session_id, decisions).await?;
    Ok(session_id.as_str().to_owned())
}

/// Each decision is on an item that was counted, and on another one: one that is mistyped would be missed silently, and
/// its line posted all the same.
async fn check_lines(
    conn: &mut PgConnection,
    sessions: &[String],
    lines: &[LineDecision],
) -> Result<(), CountError> {
    let skus: Vec<_> = lines.iter().map(|line| line.item_code.as_str()).collect();
    let mut undecided = store::find_counted(conn, sessions, &skus).await?;
    for (place, sku) in skus.iter().enumerate() {
        if !undecided.remove(*sku) {
            let field = format!("lines[{place}].item_code");
            let why = "must be an item with finalized records in what is posted, and decided on once";
            return Err(Problem::invalid(field, why).into());
        }
    }
    Ok(())
}

struct Posting<'a> {
    posted_as: &'a str,
    frozen: &'a Frozen,
    by_item: HashMap<&'a str, &'a LineDecision>,
}

impl Posting<'_> {
    /// Posts some items under one lease, again if that collided.
    async fn section(&self, app: &App, caller: &Caller, items: &[Uuid]) -> Result<Evidence, CountError> {
        let keys = LockKeys::variants(items.iter().copied())?;
        run_again_if_it_collides(|| self.once(app, caller, &keys)).await
    }

    async fn once(&self, app: &App, caller: &Caller, keys: &LockKeys) -> Result<Evidence, CountError> {
        let limit = caller.patience.left();
        let lease = app.locks.acquire_within(limit, keys.clone(), &caller.gone).await?;
        let lock = lease.evidence();
        let transaction = async {
            let mut tx = app.db.begin_within(limit).await?;
            let (subject, request_id) = (&*caller.principal.subject, &*caller.request_id);
            let witness = Witness { subject, request_id, traceparent: caller.trace.request(), lock };
            self.in_tx(&mut tx, keys, witness).await?;
            tx.commit().await.map_err(DbError::from)?;
            Ok(lock)
        };
        lease.release_after(app.db.in_time(transaction)).await?
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
        let totals = store::find_totals(conn, &self.frozen.sessions, self.posted_as, &ids).await?;
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
        Ok(store::write_lines_in_tx(conn, self.posted_as, &lines).await?)
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
        let reason = decision.and_then(|line| line.reason.as_ref()).or(self.frozen.decisions.reason.as_ref());
        let mut line = NewLine::of(total, reason.map(|reason| reason.as_str().to_owned()));
        let on_hand = ledger.level(id).ok_or(Refusal::VariantNotFound(id))?.on_hand;
        (line.previous_quantity, line.new_quantity) = (on_hand, on_hand);
        let Ok(settled) = rules::settle(total.counted(), on_hand) else {
            line.outcome = Outcome::OverLimit;
            return Ok(line);
        };
        (line.moved_since, line.expected_qty) = (settled.moved, settled.expected);
        let doubt = rules::doubt(settled, on_hand, total.against(self.frozen.decisions.recount_over));
        (line.outcome, line.recount_because) = match (decision.map(|line| line.decision), doubt) {
            (Some(Decision::Reject), _) => (Outcome::Rejected, None),
            (None, Some(why)) => (Outcome::Recount, Some(why)),
            _ => (Outcome::Posted, None),
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
        let reference = Reference::try_from(self.posted_as.to_owned()).ok();
        let occasion = Occasion { reason, reference, ..Occasion::default() };
        Ok(ledger.decide(variant_id, Change::Count(units), occasion, witness)?)
    }
}

impl Total {
    pub(super) fn counted(&self) -> Counted {
        let Self { units, damaged, damaged_before, went_out, moved_after, .. } = *self;
        Counted { units, damaged, damaged_before, went_out, moved_after }
    }

    pub(super) fn against(&self, recount_over: Option<u32>) -> Against {
        let counted_elsewhere = !self.also_in.is_empty();
        let Self { counted_since, counted_twice, .. } = *self;
        Against { recount_over, counted_since, counted_elsewhere, counted_twice }
    }
}

/// What is told of a count to all: it may have a hundred thousand lines, which whoever wants them asks for.
fn totals(posted: &Lines, tallies: &[Tally]) -> Value {
    let outcomes: BTreeMap<_, _> =
        tallies.iter().map(|tally| (tally.outcome.as_str(), tally.items)).collect();
    let items: i64 = outcomes.values().sum();
    let set = tallies.iter().find(|tally| tally.outcome == "posted");
    let (variance, shortfall) = set.map_or((0, 0), |set| (set.variance, set.shortfall));
    json!({
        "session_id": posted.session_id, "session_ids": posted.session_ids, "state": posted.state,
        "posted_at": posted.posted_at, "posted_by": posted.posted_by, "open_conflicts": posted.open_conflicts,
        "items": items, "outcomes": outcomes, "variance": variance, "shortfall": shortfall,
    })
}

/// Notes that all is posted, and tells of it, once. Gives the first page of its lines.
async fn finish_in_tx(conn: &mut PgConnection, posted_as: &str, by: &str) -> Result<Lines, CountError> {
    let is_new = store::finish_in_tx(conn, posted_as, by).await?;
    let page = Within { after: None, limit: Some(Limit::MOST.and_one()) };
    let posted = posted(conn, posted_as, &[], page).await?.paged(Limit::MOST);
    if is_new {
        let told = totals(&posted, &store::tally_lines(conn, posted_as).await?);
        let mut tell = vec![NewEvent::new(EventKind::CountPosted, About::SessionNamed(posted_as), &told)?];
        for session_id in &posted.session_ids {
            let ended = json!({"session_id": session_id, "state": "posted", "posted_by": by,
                               "posted_as": posted_as});
            tell.push(NewEvent::new(EventKind::SessionEnded, About::SessionNamed(session_id), &ended)?);
        }
        events::append_all_in_tx(conn, &tell).await?;
    }
    Ok(posted)
}

/// What posting in a session's name came to; before that, with these others.
pub(super) async fn posted(
    conn: &mut PgConnection,
    posted_as: &str,
    others: &[&str],
    within: Within,
) -> Result<Lines, CountError> {
    let mut all = store::find_each(conn, &[&[posted_as], others].concat()).await?;
    let first = all.iter().position(|session| session.session_id == posted_as);
    let session = all.swap_remove(first.ok_or_else(error::session_not_found)?);
    let mut session_ids: Vec<_> = all.iter().map(|session| session.session_id.clone()).collect();
    session_ids.push(session.session_id.clone());
    session_ids.sort_unstable();
    Ok(Lines {
        session_ids,
        session_id: session.session_id,
        state: session.state,
        posted_at: session.posted_at,
        posted_by: session.posted_by,
        open_conflicts: session.open_conflicts + all.iter().map(|other| other.open_conflicts).sum::<i64>(),
        lines: store::find_lines(conn, posted_as, within).await?,
        next_cursor: None,
    })
}
