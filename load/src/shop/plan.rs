//! From rows to work: the catalogue a file needs, and its invoices in the order in which they begin.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;

use super::catalogue::Gathering;
use super::dirt::LONG_ORDER;
use super::naming::fit_name;
use super::{Dirt, Entry, Item, Naming, Row, classify};

/// All that a file asks for.
#[derive(Debug)]
pub struct Plan {
    pub items: Vec<Item>,
    pub invoices: Vec<Invoice>,
}

/// One invoice: a piece of work of one customer.
#[derive(Debug, PartialEq, Eq)]
pub struct Invoice {
    pub number: String,
    /// The customer as the file names it; none for a guest.
    pub customer: Option<String>,
    /// The customer as the service knows it.
    pub user_id: String,
    pub work: Work,
}

/// What an invoice asks for. Items are named by their place in the plan.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    Sale(Vec<SaleLine>),
    Return(Vec<ReturnRow>),
    Corrections(Vec<Correction>),
}

/// One line of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaleLine {
    pub item: usize,
    pub quantity: i64,
}

/// One row of a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnRow {
    pub line: u64,
    pub item: usize,
    pub quantity: i64,
}

/// One correction of the shop's own books; `delta` is below 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    pub line: u64,
    pub item: usize,
    pub delta: i64,
    pub reason: String,
}

/// The most lines the service takes in one order.
const LONGEST_ORDER: usize = 2_000;

/// The rows of one invoice number, sorted by the part they play.
#[derive(Debug, Default)]
struct Draft {
    number: String,
    customer: Option<String>,
    lines: Vec<SaleLine>,
    returns: Vec<ReturnRow>,
    corrections: Vec<Correction>,
}

impl Plan {
    /// Makes the plan of `rows`: of the first `limit` invoices, with `cover` of their demand in stock.
    pub fn new(
        rows: Vec<Row>,
        naming: &Naming,
        cover: Decimal,
        limit: Option<usize>,
        dirt: &mut Dirt,
    ) -> Self {
        let mut gathering = Gathering::default();
        let drafts = drafts(rows, naming, limit.unwrap_or(usize::MAX), &mut gathering, dirt);
        let mut invoices = Vec::with_capacity(drafts.len());
        for draft in drafts {
            if draft.lines.len() > LONGEST_ORDER {
                dirt.skipped_rows_of_too_long_orders += draft.lines.len() as u64;
                dirt.too_long_orders.push(draft.number.clone());
            }
            draft.finish(naming, dirt, &mut invoices);
        }
        for invoice in &invoices {
            if let Work::Sale(lines) = &invoice.work {
                lines.iter().for_each(|line| gathering.ask_for(line.item, line.quantity));
                note_order(lines, dirt);
            }
        }
        Self { items: gathering.finish(naming, cover, dirt), invoices }
    }

    /// How many of the invoices are sales.
    pub fn sales(&self) -> usize {
        self.invoices.iter().filter(|invoice| matches!(invoice.work, Work::Sale(_))).count()
    }
}

fn drafts(
    rows: Vec<Row>,
    naming: &Naming,
    limit: usize,
    gathering: &mut Gathering,
    dirt: &mut Dirt,
) -> Vec<Draft> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut drafts: Vec<Draft> = Vec::new();
    for row in rows {
        let known = places.get(&row.invoice).copied();
        if known.is_none() && drafts.len() >= limit {
            dirt.rows_not_asked_for += 1;
            continue;
        }
        let place = known.unwrap_or_else(|| {
            places.insert(row.invoice.clone(), drafts.len());
            let (number, customer) = (row.invoice.clone(), row.customer.clone());
            drafts.push(Draft { number, customer, ..Draft::default() });
            drafts.len() - 1
        });
        drafts[place].take(&row, naming, gathering, dirt);
    }
    drafts
}

impl Draft {
    fn take(&mut self, row: &Row, naming: &Naming, gathering: &mut Gathering, dirt: &mut Dirt) {
        let entry = classify(row, naming);
        if let Entry::Skipped(skip) = entry {
            dirt.skip(skip);
            return;
        }
        dirt.rows_with_price_zero += u64::from(row.unit_price.is_zero());
        dirt.rows_with_negative_price += u64::from(row.unit_price < Decimal::ZERO);
        dirt.rows_without_customer += u64::from(row.customer.is_none());
        dirt.rows_without_description += u64::from(row.description.is_empty());
        dirt.rows_with_another_customer += u64::from(row.customer != self.customer);
        let item = gathering.place(row, matches!(entry, Entry::Sale(_)));
        match entry {
            Entry::Sale(quantity) => self.lines.push(SaleLine { item, quantity }),
            Entry::Return(quantity) => self.returns.push(ReturnRow { line: row.line, item, quantity }),
            Entry::Correction(delta) => {
                let (reason, _) = fit_name(&row.description, "correction");
                self.corrections.push(Correction { line: row.line, item, delta, reason });
            }
            Entry::Skipped(_) => {}
        }
    }

    /// Turns the draft into its pieces of work: one, unless a sale carries corrections too.
    fn finish(self, naming: &Naming, dirt: &mut Dirt, invoices: &mut Vec<Invoice>) {
        let sellable = !self.lines.is_empty() && self.lines.len() <= LONGEST_ORDER;
        let parts = [
            sellable.then_some(Work::Sale(self.lines)),
            (!self.returns.is_empty()).then_some(Work::Return(self.returns)),
            (!self.corrections.is_empty()).then_some(Work::Corrections(self.corrections)),
        ];
        let named = self.customer.as_deref().and_then(|customer| naming.user(customer));
        for work in parts.into_iter().flatten() {
            match (&self.customer, &named) {
                (None, _) => dirt.invoices_without_customer += 1,
                (Some(_), None) => dirt.invoices_with_odd_customer += 1,
                _ => {}
            }
            invoices.push(Invoice {
                number: self.number.clone(),
                customer: named.as_ref().and(self.customer.clone()),
                user_id: named.clone().unwrap_or_else(|| naming.guest(&self.number)),
                work,
            });
        }
    }
}

fn note_order(lines: &[SaleLine], dirt: &mut Dirt) {
    let mut seen = HashSet::new();
    let repeats = lines.iter().any(|line| !seen.insert(line.item));
    dirt.orders_with_repeated_items += u64::from(repeats);
    dirt.long_orders += u64::from(lines.len() >= LONG_ORDER);
    dirt.longest_order = dirt.longest_order.max(lines.len() as u64);
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
