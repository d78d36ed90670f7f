//! The service's books against what was answered: every balance, every history, and its own audit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::anyhow;
use serde::Serialize;

use super::conservation::differences;
use super::{Chain, Opening, Tally};
use crate::connection::{Caller, Patience, spread_over};
use crate::progress::Progress;
use crate::service::{Movement, PageSize, audit, level, walk_movements};

/// What the comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BooksReport {
    pub items_checked: u64,
    pub movements_walked: u64,
    pub items_differing: u64,
    /// The first items that differ; [`Self::items_differing`] counts all.
    pub differing: Vec<ItemDifferences>,
    pub audit_ok: bool,
    /// What the audit said, where it did not say that all is well.
    pub audit_words: Vec<String>,
    pub audit_variants: u64,
    pub audit_movements: u64,
}

/// One item that differs.
#[derive(Clone, Debug, Serialize)]
pub struct ItemDifferences {
    pub sku: String,
    pub variant_id: String,
    pub differences: Vec<String>,
}

const LISTED: usize = 20;

impl BooksReport {
    /// Whether everything agrees.
    pub fn agree(&self) -> bool {
        self.items_differing == 0 && self.audit_ok
    }

    fn take(&mut self, item: &super::ShelfItem, differences: Vec<String>) {
        self.items_checked += 1;
        if differences.is_empty() {
            return;
        }
        self.items_differing += 1;
        if self.differing.len() < LISTED {
            let (sku, variant_id) = (item.sku.clone(), item.variant_id.to_string());
            self.differing.push(ItemDifferences { sku, variant_id, differences });
        }
    }

    async fn ask_for_audit(&mut self, caller: Caller) {
        match audit(&mut caller.with_patience(Patience::AUDIT)).await {
            Ok(found) => {
                self.audit_ok = found.ok;
                self.audit_variants = found.variants_checked;
                self.audit_movements = found.movements_checked;
                self.audit_words = found.violations.iter().take(LISTED).map(ToString::to_string).collect();
            }
            Err(error) => self.audit_words.push(format!("{error:#}")),
        }
    }
}

/// Checks every item's balance and whole history, then asks for the audit. `watch` sees each item's movements pass.
pub async fn check_books(
    callers: Vec<Caller>,
    auditor: Caller,
    opening: Rc<Opening>,
    tallies: Vec<Tally>,
    watch: impl Fn(usize, &[Movement]) + 'static,
) -> anyhow::Result<BooksReport> {
    let total = tallies.len();
    let report = Rc::new(RefCell::new(BooksReport::default()));
    let progress = Progress::start("walking every item's history", total);
    let (found, size) = (Rc::clone(&report), PageSize::default());
    spread_over(callers, total, async move |caller, place| {
        let item = opening.item(place);
        let mut chain = Chain::new(item.variant_id);
        let walked = walk_movements(caller, item.variant_id, &size, place, |page| {
            chain.older(page);
            watch(place, page);
        })
        .await;
        chain.finish();
        let differing = match (walked, level(caller, item.variant_id, place).await) {
            (Ok(()), Ok(level)) => differences(&tallies[place], &level, &chain),
            (Err(error), _) | (_, Err(error)) => vec![format!("cannot be read: {error:#}")],
        };
        let mut found = found.borrow_mut();
        found.movements_walked += chain.length();
        found.take(item, differing);
        progress.step();
        Ok(())
    })
    .await?;
    let mut report = report.take();
    report.ask_for_audit(auditor).await;
    Ok(report)
}

/// Checks the balance of every touched item, then asks for the audit: enough after a benchmark, whose
/// histories are too long to walk.
pub async fn check_on_hand(
    callers: Vec<Caller>,
    auditor: Caller,
    opening: Rc<Opening>,
    tallies: Vec<Tally>,
) -> anyhow::Result<BooksReport> {
    let touched: Vec<usize> = (0..tallies.len()).filter(|place| tallies[*place].is_touched()).collect();
    let report = Rc::new(RefCell::new(BooksReport::default()));
    let progress = Progress::start("reading every item's balance", touched.len());
    let (found, is_away) = (Rc::clone(&report), Rc::new(Cell::new(false)));
    let away = Rc::clone(&is_away);
    spread_over(callers, touched.len(), async move |caller, position| {
        let place = touched[position];
        let item = opening.item(place);
        let read = if away.get() {
            Err(anyhow!("the service is away"))
        } else {
            level(caller, item.variant_id, position).await
        };
        let differing = match read {
            Ok(level) => tallies[place].contradicts(level.on_hand).into_iter().collect(),
            Err(error) => {
                // All patience was spent on this one: the others would fare no better.
                away.set(true);
                vec![format!("cannot be read: {error:#}")]
            }
        };
        found.borrow_mut().take(item, differing);
        progress.step();
        Ok(())
    })
    .await?;
    let mut report = report.take();
    if is_away.get() {
        report.audit_words.push("not asked for: the service is away".into());
    } else {
        report.ask_for_audit(auditor).await;
    }
    Ok(report)
}
