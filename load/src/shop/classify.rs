//! What a row is: a line of a sale, of a return, a correction by the shop itself, or nothing to send.

use super::{Naming, Row};

/// The part a row plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// So many were sold.
    Sale(i64),
    /// So many came back.
    Return(i64),
    /// The shop took so many out of its books: the delta, below 0.
    Correction(i64),
    /// Nothing is sent for it.
    Skipped(Skip),
}

/// Why nothing is sent for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// A bookkeeping entry: no goods moved.
    Accounting,
    /// A quantity of 0 moves nothing.
    ZeroQuantity,
    /// More than the service takes in one line.
    QuantityTooLarge,
    /// A cancellation that gives out goods: nobody can say what it means.
    PositiveCancellation,
    /// The invoice number cannot be part of a key.
    OddInvoiceNumber,
    /// The stock code cannot be a sku.
    OddStockCode,
}

/// The largest quantity of one line.
pub const LARGEST_QUANTITY: u64 = 1_000_000_000;

/// Says what `row` is.
pub fn classify(row: &Row, naming: &Naming) -> Entry {
    if row.invoice.starts_with('A') {
        return Entry::Skipped(Skip::Accounting);
    }
    if !naming.can_key(&row.invoice) {
        return Entry::Skipped(Skip::OddInvoiceNumber);
    }
    if naming.sku(&row.stock_code).is_none() {
        return Entry::Skipped(Skip::OddStockCode);
    }
    if row.quantity.unsigned_abs() > LARGEST_QUANTITY {
        return Entry::Skipped(Skip::QuantityTooLarge);
    }
    match (row.invoice.starts_with('C'), row.quantity) {
        (_, 0) => Entry::Skipped(Skip::ZeroQuantity),
        (true, 1..) => Entry::Skipped(Skip::PositiveCancellation),
        (true, quantity) => Entry::Return(-quantity),
        (false, 1..) => Entry::Sale(row.quantity),
        (false, delta) => Entry::Correction(delta),
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    fn kind(invoice: &str, stock_code: &str, quantity: i64) -> Entry {
        let row = Row {
            line: 2,
            invoice: invoice.into(),
            stock_code: stock_code.into(),
            description: String::new(),
            quantity,
            unit_price: Decimal::ONE,
            customer: None,
        };
        classify(&row, &Naming::new("run"))
    }

    #[test]
    fn a_plain_number_with_a_positive_quantity_is_a_sale() {
        assert_eq!(kind("536365", "85123A", 6), Entry::Sale(6));
    }

    #[test]
    fn a_plain_number_with_a_negative_quantity_is_a_correction() {
        assert_eq!(kind("536589", "21777", -10), Entry::Correction(-10));
    }

    #[test]
    fn a_c_number_is_a_return_of_the_positive_quantity() {
        assert_eq!(kind("C536379", "D", -1), Entry::Return(1));
        assert_eq!(kind("C536379", "D", 1), Entry::Skipped(Skip::PositiveCancellation));
    }

    #[test]
    fn accounting_entries_are_skipped_whatever_they_say() {
        assert_eq!(kind("A563185", "B", 1), Entry::Skipped(Skip::Accounting));
        assert_eq!(kind("A563185", "B", 0), Entry::Skipped(Skip::Accounting));
    }

    #[test]
    fn quantities_the_service_cannot_take_are_skipped() {
        assert_eq!(kind("1", "A", 0), Entry::Skipped(Skip::ZeroQuantity));
        assert_eq!(kind("C1", "A", 0), Entry::Skipped(Skip::ZeroQuantity));
        assert_eq!(kind("1", "A", 1_000_000_000), Entry::Sale(1_000_000_000));
        assert_eq!(kind("1", "A", 1_000_000_001), Entry::Skipped(Skip::QuantityTooLarge));
        assert_eq!(kind("C1", "A", i64::MIN), Entry::Skipped(Skip::QuantityTooLarge));
    }

    #[test]
    fn names_that_cannot_be_sent_are_skipped() {
        assert_eq!(kind("", "A", 1), Entry::Skipped(Skip::OddInvoiceNumber));
        assert_eq!(kind("5363é", "A", 1), Entry::Skipped(Skip::OddInvoiceNumber));
        assert_eq!(kind("1", "", 1), Entry::Skipped(Skip::OddStockCode));
        assert_eq!(kind("1", "A\tB", 1), Entry::Skipped(Skip::OddStockCode));
        assert_eq!(kind("1", &"9".repeat(64), 1), Entry::Skipped(Skip::OddStockCode));
        assert_eq!(kind("1", "BANK CHARGES", 1), Entry::Sale(1));
    }
}
