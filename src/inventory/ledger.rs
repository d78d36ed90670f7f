//! The levels a transaction has locked, and the movements it has decided on so far.
//!
//! What must stay true: a level is read under its row lock, every decision is made on the level the one
//! before it left, and levels and movements are written together or not at all.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use super::low::tell_of_low_in_tx;
use super::model::{Level, LockSeen, Movement, Occasion, Witness};
use super::rules::{Change, Refusal, Step, becomes_low, decide};
use super::store;
use crate::db::DbError;
use crate::ids;

/// A movement that has been decided on and is not written yet.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// Its id.
    pub movement_id: Uuid,
    /// What it does.
    pub step: Step,
    /// What it says about its occasion.
    pub occasion: Occasion,
    /// Who asked for it.
    pub witness: Witness<'a>,
}

/// Locked levels and the drafts over them.
#[derive(Debug)]
pub struct Ledger<'a> {
    levels: HashMap<Uuid, Level>,
    drafts: Vec<Draft<'a>>,
    /// Variants that became low by what was decided so far, and the last request that made them so, in its trace.
    low: BTreeMap<Uuid, Option<&'a str>>,
}

impl<'a> Ledger<'a> {
    /// Locks the rows of `ids`, which must be sorted as [`crate::locks::LockKeys::variant_ids`] gives them.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn lock_in_tx(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Self, DbError> {
        Ok(Self::over(store::lock_levels_in_tx(conn, ids).await?.into_values()))
    }

    /// A ledger over levels that are locked already.
    #[must_use]
    pub fn over(levels: impl IntoIterator<Item = Level>) -> Self {
        Self {
            levels: levels.into_iter().map(|level| (level.variant_id, level)).collect(),
            drafts: Vec::new(),
            low: BTreeMap::new(),
        }
    }

    /// Decides on one more change.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing was added.
    pub fn decide(
        &mut self,
        variant_id: Uuid,
        change: Change,
        occasion: Occasion,
        witness: Witness<'a>,
    ) -> Result<(), Refusal> {
        let level = self.levels.get_mut(&variant_id).ok_or(Refusal::VariantNotFound(variant_id))?;
        let step = decide(level, change)?;
        if becomes_low(level, &step.after) {
            self.low.insert(variant_id, witness.traceparent);
        }
        *level = step.after;
        self.drafts.push(Draft { movement_id: ids::fresh(), step, occasion, witness });
        Ok(())
    }

    /// Decides on several changes of one request: if it fails in the middle, the levels are as they were before it.
    ///
    /// # Errors
    /// Those of `changes`.
    pub fn all_or_none<T, E>(&mut self, changes: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let decided = self.drafts.len();
        let outcome = changes(self);
        if outcome.is_err() {
            for draft in self.drafts.drain(decided..).rev() {
                self.levels.insert(draft.step.before.variant_id, draft.step.before);
            }
        }
        outcome
    }

    /// Counts so many held units as available again, which the caller writes down.
    pub fn let_go(&mut self, variant_id: Uuid, units: i64) {
        if let Some(level) = self.levels.get_mut(&variant_id) {
            level.held -= units;
        }
    }

    /// A level as the decisions so far leave it; none if there is no such variant.
    #[must_use]
    pub fn level(&self, variant_id: Uuid) -> Option<&Level> {
        self.levels.get(&variant_id)
    }

    /// How many changes were decided on so far.
    #[must_use]
    pub fn decided(&self) -> usize {
        self.drafts.len()
    }

    /// Writes what was decided and gives the movements in the order they were decided in.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn write_in_tx(self, conn: &mut PgConnection) -> Result<Vec<Movement>, DbError> {
        if self.drafts.is_empty() {
            return Ok(Vec::new());
        }
        let touched: HashMap<Uuid, Level> =
            self.drafts.iter().map(|draft| (draft.step.after.variant_id, draft.step.after)).collect();
        let levels: Vec<Level> = touched.into_values().collect();
        let at = store::write_movements_in_tx(conn, &levels, &self.drafts).await?;
        let low = self.low.iter().filter_map(|(id, traceparent)| Some((self.levels.get(id)?, *traceparent)));
        tell_of_low_in_tx(conn, low).await?;
        let movement = |draft: Draft<'_>| Movement {
            movement_id: draft.movement_id,
            variant_id: draft.step.after.variant_id,
            version: draft.step.after.version,
            kind: draft.step.kind.as_str().to_owned(),
            delta: draft.step.delta,
            previous_quantity: draft.step.after.on_hand - draft.step.delta,
            new_quantity: draft.step.after.on_hand,
            reason: draft.occasion.reason.map(Into::into),
            reference: draft.occasion.reference.map(Into::into),
            lock: LockSeen::from(draft.witness.lock),
            created_at: at,
        };
        Ok(self.drafts.into_iter().map(movement).collect())
    }
}
