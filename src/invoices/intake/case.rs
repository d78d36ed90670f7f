//! An upload beside all it may be: what is read for it, and what it is judged as. Writes nothing.

use chrono::Days;
use sqlx::PgConnection;
use uuid::Uuid;

use super::compare::Facts;
use super::error::IntakeError;
use super::model::{GivenInvoice, Verdict};
use super::rules::{Judged, Kind, OnDuplicate, Policy, judge, may_be_another};
use super::store::{self, NewMatch};

/// An invoice may be of a day so far ahead: less than any year.
const DAYS_AHEAD_MAX: u64 = 364;

/// What an upload is judged by.
pub(super) struct Case {
    pub(super) facts: Facts,
    policy: Policy,
    /// Whether a near one is kept.
    flags: bool,
    is_too_far_ahead: bool,
    pub(super) others: Vec<(Uuid, Facts)>,
    compared_all: bool,
}

/// Reads what each is judged by.
///
/// # Errors
/// A database error.
pub(super) async fn open_cases(
    conn: &mut PgConnection,
    given: &[GivenInvoice],
) -> Result<Vec<Case>, IntakeError> {
    let known = store::find_known(conn, given).await?;
    let of_one = |(given, known): (&GivenInvoice, store::Known)| {
        let facts = given.facts(known.vendor_key.as_deref());
        let last = known.today.checked_add_days(Days::new(DAYS_AHEAD_MAX));
        Case {
            is_too_far_ahead: last.is_some_and(|last| facts.date > last),
            facts,
            flags: given.on_duplicate.unwrap_or(known.policy.on_duplicate) == OnDuplicate::Flag,
            policy: known.policy,
            others: Vec::new(),
            compared_all: true,
        }
    };
    let mut cases: Vec<_> = given.iter().zip(known).map(of_one).collect();
    let judged: Vec<_> = given
        .iter()
        .zip(&cases)
        .map(|(given, case)| (given.account_id.as_str(), &case.facts, case.policy.reach()))
        .collect();
    for candidate in store::find_candidates(conn, &judged).await? {
        if let Some(case) = cases.get_mut(candidate.place) {
            case.others.push((candidate.invoice_id, candidate.facts));
        }
    }
    for case in &mut cases {
        case.compared_all = case.others.len() as i64 <= store::CANDIDATES_MAX;
        if !case.compared_all {
            tracing::warn!(
                invoice.candidates = case.others.len(),
                "so many invoices are alike that not all are compared"
            );
        }
    }
    Ok(cases)
}

/// What an upload came to be judged as.
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// What it is near to, the most alike first.
    pub(super) near: Vec<NewMatch>,
    /// Whether it may be kept, if near ones are.
    may_be_kept: bool,
}

impl Case {
    /// Judges it beside all it may be. The gravest verdict counts, and of equal ones the most alike; if there is none,
    /// what came closest is told along.
    ///
    /// # Errors
    /// [`IntakeError::TooFarAhead`].
    pub(super) fn judge(&self) -> Result<Finding, IntakeError> {
        if self.is_too_far_ahead {
            return Err(IntakeError::TooFarAhead);
        }
        let mut all: Vec<(Judged, &(Uuid, Facts))> =
            self.others.iter().map(|other| (judge(&self.facts, &other.1, &self.policy), other)).collect();
        all.sort_by(|(one, (id, _)), (other, (other_id, _))| {
            (other.kind, other.score, id).cmp(&(one.kind, one.score, other_id))
        });
        let may_be_kept = all.iter().all(|(judged, (_, theirs))| match judged.kind {
            Kind::New | Kind::Near => true,
            Kind::Exact => may_be_another(&self.facts, theirs),
            Kind::FileHash | Kind::Concurrent => false,
        });
        let near = all
            .iter()
            .filter(|(judged, _)| judged.kind != Kind::New)
            .take(store::MATCHES_MAX as usize)
            .map(|(judged, (id, theirs))| NewMatch {
                earlier_id: *id,
                score: judged.score,
                evidence: judged.evidence(&self.facts, theirs),
            })
            .collect();
        let mut verdict = match all.first() {
            Some((judged, (id, theirs))) => {
                let evidence = judged.evidence(&self.facts, theirs);
                Verdict::new(judged.kind, judged.score, evidence, Some(*id))
            }
            None => Verdict::new(Kind::New, 0, Vec::new(), None),
        };
        verdict.compared_all = self.compared_all;
        Ok(Finding { verdict, near, may_be_kept })
    }

    /// The same, where what may not be in is refused.
    ///
    /// # Errors
    /// [`IntakeError::TooFarAhead`], [`IntakeError::Duplicate`].
    pub(super) fn judge_strictly(&self) -> Result<Finding, IntakeError> {
        let found = self.judge()?;
        let is_in = found.verdict.r#type == Kind::New || (self.flags && found.may_be_kept);
        if is_in { Ok(found) } else { Err(IntakeError::Duplicate(Box::new(found.verdict))) }
    }
}
