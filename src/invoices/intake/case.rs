//! An upload beside all it may be: what is read for it, and what it is judged as. Writes nothing.
//!
//! What must stay true: of all that it is compared with as many are kept as can be told of, however many there are and
//! however long they are.

use chrono::Days;
use sqlx::PgConnection;
use uuid::Uuid;

use super::compare::Facts;
use super::error::IntakeError;
use super::model::{GivenInvoice, Verdict};
use super::rules::{Judged, Kind, MATCHES_MAX, OnDuplicate, Policy, judge, may_be_another};
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
    others: Others,
    pub(super) compared_all: bool,
}

/// What an upload was compared with.
#[derive(Default)]
struct Others {
    /// The gravest first, of equal ones the most alike, and of those the first: no more than can be told.
    told: Vec<(Judged, Uuid, Facts)>,
    compared: i64,
    /// Whether one of them can't be another, whoever looks at it.
    one_is_the_same: bool,
}

impl Others {
    /// Compares `ours` with one more.
    fn add(&mut self, ours: &Facts, policy: &Policy, id: Uuid, theirs: &Facts) {
        let judged = judge(ours, theirs, policy);
        self.compared += 1;
        self.one_is_the_same |= match judged.kind {
            Kind::New | Kind::Near => false,
            Kind::Exact => !may_be_another(ours, theirs),
            Kind::FileHash | Kind::Concurrent => true,
        };
        let rank = |judged: &Judged, id: Uuid| (judged.kind, judged.score, std::cmp::Reverse(id));
        let place =
            self.told.partition_point(|(other, earlier, _)| rank(other, *earlier) > rank(&judged, id));
        if place < MATCHES_MAX as usize {
            self.told.insert(place, (judged, id, theirs.clone()));
            self.told.truncate(MATCHES_MAX as usize);
        }
    }
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
            others: Others::default(),
            compared_all: true,
        }
    };
    let mut cases: Vec<_> = given.iter().zip(known).map(of_one).collect();
    let mut others: Vec<_> = cases.iter().map(|_| Others::default()).collect();
    let judged: Vec<_> = given
        .iter()
        .zip(&cases)
        .map(|(given, case)| (given.account_id.as_str(), &case.facts, case.policy.reach()))
        .collect();
    store::find_candidates(conn, &judged, |candidate| {
        if let (Some(case), Some(others)) = (cases.get(candidate.place), others.get_mut(candidate.place)) {
            others.add(&case.facts, &case.policy, candidate.invoice_id, &candidate.facts);
        }
    })
    .await?;
    for (case, others) in cases.iter_mut().zip(others) {
        case.compared_all = others.compared <= store::CANDIDATES_MAX;
        if !case.compared_all {
            tracing::warn!(
                invoice.candidates = others.compared,
                "so many invoices are alike that not all are compared"
            );
        }
        case.others = others;
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
    /// Compares it with one more, that came in just before it.
    pub(super) fn add(&mut self, id: Uuid, theirs: &Facts) {
        self.others.add(&self.facts, &self.policy, id, theirs);
    }

    /// What it is judged as beside all it may be. The gravest verdict counts, and of equal ones the most alike; if there
    /// is none, what came closest is told along.
    ///
    /// # Errors
    /// [`IntakeError::TooFarAhead`].
    pub(super) fn judge(&self) -> Result<Finding, IntakeError> {
        if self.is_too_far_ahead {
            return Err(IntakeError::TooFarAhead);
        }
        let near = self.others.told.iter().filter(|(judged, ..)| judged.kind != Kind::New);
        let near = near.map(|(judged, id, theirs)| NewMatch {
            earlier_id: *id,
            score: judged.score,
            evidence: judged.evidence(&self.facts, theirs),
        });
        let mut verdict = match self.others.told.first() {
            Some((judged, id, theirs)) => {
                let evidence = judged.evidence(&self.facts, theirs);
                Verdict::new(judged.kind, judged.score, evidence, Some(*id))
            }
            None => Verdict::new(Kind::New, 0, Vec::new(), None),
        };
        verdict.compared_all = self.compared_all;
        Ok(Finding { verdict, near: near.collect(), may_be_kept: !self.others.one_is_the_same })
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
