//! The report of a replay, as it is printed and as it is written to a file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::print::verdict;
use super::{BooksReport, CallKind, CallReport, FaultKind, FaultReport, RepeatFigures};
use crate::picture::{Picture, Scene};
use crate::shop::{Dirt, Plan, Work};

/// Everything a replay found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether nothing at all was wrong.
    pub ok: bool,
    pub run: String,
    pub targets: Vec<String>,
    pub concurrency: usize,
    /// Orders per second asked for; none when each worker sent as fast as it was answered.
    pub rate: Option<String>,
    pub seconds: f64,
    pub orders_per_second: f64,
    pub plan: PlanFigures,
    pub dirt: Dirt,
    pub calls: BTreeMap<CallKind, CallReport>,
    pub repeats: RepeatFigures,
    pub faults: BTreeMap<FaultKind, FaultReport>,
    pub books: BooksReport,
    pub scene: Scene,
}

impl Report {
    /// The picture of the run.
    pub fn picture(&self) -> Picture<'_> {
        Picture {
            title: format!("replay · {}", self.run),
            facts: vec![("sales a second".to_owned(), format!("{:.1}", self.orders_per_second))],
            verdict: verdict(self.ok).to_owned(),
            is_good: self.ok,
            scene: &self.scene,
        }
    }
}

/// What the file asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PlanFigures {
    pub items: usize,
    pub units_asked_for: i64,
    pub units_opened: i64,
    pub sales: usize,
    pub sale_lines: usize,
    pub returns: usize,
    pub return_rows: usize,
    /// Units returned by way of an earlier order, and beside any.
    pub units_matched_to_orders: i64,
    pub units_not_matched: i64,
    pub correction_rows: usize,
    pub customers: usize,
}

impl PlanFigures {
    /// The figures of a plan before it is carried out.
    pub fn of(plan: &Plan) -> Self {
        let mut figures = Self {
            items: plan.items.len(),
            units_asked_for: plan.items.iter().map(|item| item.demand).sum(),
            units_opened: plan.items.iter().map(|item| item.opening).sum(),
            ..Self::default()
        };
        let mut users = std::collections::HashSet::new();
        for invoice in &plan.invoices {
            users.insert(invoice.user_id.as_str());
            match &invoice.work {
                Work::Sale(lines) => {
                    figures.sales += 1;
                    figures.sale_lines += lines.len();
                }
                Work::Return(rows) => {
                    figures.returns += 1;
                    figures.return_rows += rows.len();
                }
                Work::Corrections(rows) => figures.correction_rows += rows.len(),
            }
        }
        figures.customers = users.len();
        figures
    }
}
