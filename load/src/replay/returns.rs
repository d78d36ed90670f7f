//! Which orders a return belongs to: the customer's latest ones that still have uncancelled units of the
//! item. What no order accounts for goes back to stock by itself.
//!
//! What must stay true: no line is cancelled beyond what was ordered; every returned unit goes exactly one
//! of the two ways.

use uuid::Uuid;

use crate::service::{CancelLine, OrderAnswer};
use crate::shop::ReturnRow;
use crate::verdict::Opening;

/// An order of the customer that the service took.
#[derive(Debug)]
pub struct PlacedOrder {
    pub order_id: Uuid,
    pub invoice: String,
    pub lines: Vec<PlacedLine>,
}

/// One of its lines.
#[derive(Debug)]
pub struct PlacedLine {
    pub line_id: Uuid,
    pub item: usize,
    pub ordered: i64,
    pub cancelled: i64,
}

/// What a return comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct ReturnPlan {
    pub cancels: Vec<Cancel>,
    /// What no order accounts for, row by row.
    pub unmatched: Vec<ReturnRow>,
}

/// What is cancelled of one order.
#[derive(Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The order's place in the customer's history.
    pub order: usize,
    pub lines: Vec<CancelLine>,
    /// The same by item.
    pub returned: Vec<(usize, i64)>,
}

impl PlacedOrder {
    /// Keeps of an order what a return may need.
    pub fn new(invoice: &str, answer: &OrderAnswer, opening: &Opening) -> Self {
        let placed = |line: &crate::service::OrderLineAnswer| {
            let item = opening.place(line.variant_id)?;
            Some(PlacedLine { line_id: line.line_id, item, ordered: line.quantity, cancelled: 0 })
        };
        let lines = answer.lines.iter().filter_map(placed).collect();
        Self { order_id: answer.order_id, invoice: invoice.to_owned(), lines }
    }

    /// Each line with what is cancelled of it.
    pub fn cancelled(&self) -> Vec<(Uuid, i64)> {
        self.lines.iter().map(|line| (line.line_id, line.cancelled)).collect()
    }
}

/// Matches a return's rows against a customer's orders, oldest first in `history`, and marks there what is
/// cancelled.
pub fn match_returns(history: &mut [PlacedOrder], rows: &[ReturnRow]) -> ReturnPlan {
    let mut plan = ReturnPlan { cancels: Vec::new(), unmatched: Vec::new() };
    for row in rows {
        let mut left = row.quantity;
        for (order, placed) in history.iter_mut().enumerate().rev() {
            for line in placed.lines.iter_mut().filter(|line| line.item == row.item) {
                let quantity = left.min(line.ordered - line.cancelled);
                if quantity > 0 {
                    line.cancelled += quantity;
                    left -= quantity;
                    plan.cancel(order, line.line_id, line.item, quantity);
                }
            }
            if left == 0 {
                break;
            }
        }
        if left > 0 {
            plan.unmatched.push(ReturnRow { quantity: left, ..*row });
        }
    }
    plan
}

impl ReturnPlan {
    fn cancel(&mut self, order: usize, line_id: Uuid, item: usize, quantity: i64) {
        let place = self.cancels.iter().position(|cancel| cancel.order == order).unwrap_or_else(|| {
            self.cancels.push(Cancel { order, lines: Vec::new(), returned: Vec::new() });
            self.cancels.len() - 1
        });
        let cancel = &mut self.cancels[place];
        cancel.returned.push((item, quantity));
        match cancel.lines.iter_mut().find(|line| line.line_id == line_id) {
            Some(line) => line.quantity += quantity,
            None => cancel.lines.push(CancelLine { line_id, quantity }),
        }
    }

    /// Units that go back by way of an order.
    pub fn matched_units(&self) -> i64 {
        self.cancels.iter().flat_map(|cancel| &cancel.returned).map(|(_, quantity)| quantity).sum()
    }

    /// Units that go back beside any order.
    pub fn unmatched_units(&self) -> i64 {
        self.unmatched.iter().map(|row| row.quantity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An order of `(item, quantity)` lines; the line ids are 100 times the order's number and on.
    fn order(number: u128, lines: &[(usize, i64)]) -> PlacedOrder {
        let lines = lines.iter().enumerate().map(|(position, (item, ordered))| PlacedLine {
            line_id: Uuid::from_u128(number * 100 + position as u128),
            item: *item,
            ordered: *ordered,
            cancelled: 0,
        });
        PlacedOrder { order_id: Uuid::from_u128(number), invoice: number.to_string(), lines: lines.collect() }
    }

    fn row(line: u64, item: usize, quantity: i64) -> ReturnRow {
        ReturnRow { line, item, quantity }
    }

    type Planned = (Vec<(usize, u128, i64)>, Vec<(u64, i64)>);

    /// The plan as `(order, line, quantity)` and `(row, quantity)`.
    fn planned(history: &mut [PlacedOrder], rows: &[ReturnRow]) -> Planned {
        let plan = match_returns(history, rows);
        let sent: i64 = rows.iter().map(|row| row.quantity).sum();
        assert_eq!(plan.matched_units() + plan.unmatched_units(), sent);
        let lines = |cancel: &Cancel| {
            let order = cancel.order;
            cancel
                .lines
                .iter()
                .map(move |line| (order, line.line_id.as_u128(), line.quantity))
                .collect::<Vec<_>>()
        };
        let cancels = plan.cancels.iter().flat_map(lines).collect();
        (cancels, plan.unmatched.iter().map(|row| (row.line, row.quantity)).collect())
    }

    #[test]
    fn a_return_takes_from_the_latest_order_first() {
        let mut history = [order(1, &[(7, 10)]), order(2, &[(7, 10)])];
        assert_eq!(planned(&mut history, &[row(1, 7, 4)]), (vec![(1, 200, 4)], vec![]));
        assert_eq!(history[1].cancelled(), [(Uuid::from_u128(200), 4)]);
        assert_eq!(planned(&mut history, &[row(2, 7, 8)]), (vec![(1, 200, 6), (0, 100, 2)], vec![]));
    }

    #[test]
    fn what_no_order_accounts_for_is_left_over() {
        let mut history = [order(1, &[(7, 3), (8, 1)])];
        let rows = [row(1, 7, 5), row(2, 9, 2)];
        assert_eq!(planned(&mut history, &rows), (vec![(0, 100, 3)], vec![(1, 2), (2, 2)]));
        assert_eq!(planned(&mut history, &[row(3, 7, 1)]), (vec![], vec![(3, 1)]));
        assert_eq!(planned(&mut [], &[row(4, 7, 1)]), (vec![], vec![(4, 1)]));
    }

    #[test]
    fn repeated_items_are_taken_from_all_their_lines() {
        let mut history = [order(1, &[(7, 2), (8, 5), (7, 3)])];
        assert_eq!(planned(&mut history, &[row(1, 7, 4)]), (vec![(0, 100, 2), (0, 102, 2)], vec![]));
    }

    #[test]
    fn rows_of_one_item_become_one_line_of_one_cancellation() {
        let mut history = [order(1, &[(7, 10)])];
        let plan = match_returns(&mut history, &[row(1, 7, 2), row(2, 7, 3)]);
        assert_eq!(plan.cancels.len(), 1);
        assert_eq!(plan.cancels[0].lines, [CancelLine { line_id: Uuid::from_u128(100), quantity: 5 }]);
        assert_eq!(plan.cancels[0].returned, [(7, 2), (7, 3)]);
    }
}
