//! What is odd about a file, counted: real data is never clean, and what was done about it must be seen.

use serde::Serialize;

use super::Skip;

/// The counts of one file. The `skipped_…` rows are those for which nothing is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dirt {
    /// Rows in the file, the heading aside.
    pub rows: u64,
    /// Rows beyond the last invoice asked for.
    pub rows_not_asked_for: u64,
    pub unreadable_rows: u64,
    pub rows_not_utf8: u64,
    pub skipped_accounting: u64,
    pub skipped_zero_quantity: u64,
    pub skipped_quantity_too_large: u64,
    pub skipped_positive_cancellation: u64,
    pub skipped_odd_invoice_number: u64,
    pub skipped_odd_stock_code: u64,
    /// Rows of orders with more lines than the service takes; the orders are named on the terminal.
    pub skipped_rows_of_too_long_orders: u64,
    pub too_long_orders: Vec<String>,
    pub rows_with_price_zero: u64,
    pub rows_with_negative_price: u64,
    pub rows_without_customer: u64,
    pub rows_without_description: u64,
    pub invoices_without_customer: u64,
    /// Customer numbers that could not be part of a user id: their invoices went as guests'.
    pub invoices_with_odd_customer: u64,
    /// Rows that name another customer than the first row of their invoice, which is the one believed.
    pub rows_with_another_customer: u64,
    /// Orders of at least [`LONG_ORDER`] lines.
    pub long_orders: u64,
    pub longest_order: u64,
    pub orders_with_repeated_items: u64,
    pub items_with_only_negative_prices: u64,
    /// Prices rounded to the currency's two decimals.
    pub items_with_fractions_of_a_penny: u64,
    pub items_named_by_their_code: u64,
    pub items_with_shortened_name: u64,
    pub items_with_control_characters_in_name: u64,
    /// Codes with anything but ASCII letters and digits.
    pub items_with_odd_code: u64,
    /// Codes that another code differs from in case only.
    pub items_differing_in_case_only: u64,
}

/// From how many lines on an order counts as long.
pub const LONG_ORDER: usize = 705;

impl Dirt {
    /// Counts a row for which nothing is sent.
    pub fn skip(&mut self, skip: Skip) {
        *match skip {
            Skip::Accounting => &mut self.skipped_accounting,
            Skip::ZeroQuantity => &mut self.skipped_zero_quantity,
            Skip::QuantityTooLarge => &mut self.skipped_quantity_too_large,
            Skip::PositiveCancellation => &mut self.skipped_positive_cancellation,
            Skip::OddInvoiceNumber => &mut self.skipped_odd_invoice_number,
            Skip::OddStockCode => &mut self.skipped_odd_stock_code,
        } += 1;
    }

    /// All rows for which nothing is sent although the file was asked for.
    pub fn skipped(&self) -> u64 {
        self.unreadable_rows
            + self.skipped_accounting
            + self.skipped_zero_quantity
            + self.skipped_quantity_too_large
            + self.skipped_positive_cancellation
            + self.skipped_odd_invoice_number
            + self.skipped_odd_stock_code
            + self.skipped_rows_of_too_long_orders
    }

    /// The counts with the words they are reported in.
    pub fn in_words(&self) -> [(&'static str, u64); 27] {
        [
            ("accounting rows skipped", self.skipped_accounting),
            ("rows of quantity 0 skipped", self.skipped_zero_quantity),
            ("rows of too large a quantity skipped", self.skipped_quantity_too_large),
            ("cancellations that give out goods skipped", self.skipped_positive_cancellation),
            ("rows with an odd invoice number skipped", self.skipped_odd_invoice_number),
            ("rows with an odd stock code skipped", self.skipped_odd_stock_code),
            ("rows of too long orders skipped", self.skipped_rows_of_too_long_orders),
            ("unreadable rows skipped", self.unreadable_rows),
            ("rows beyond the invoices asked for", self.rows_not_asked_for),
            ("rows that were not UTF-8", self.rows_not_utf8),
            ("rows with price 0", self.rows_with_price_zero),
            ("rows with a negative price", self.rows_with_negative_price),
            ("rows without a customer", self.rows_without_customer),
            ("rows without a description", self.rows_without_description),
            ("invoices without a customer, sent as guests", self.invoices_without_customer),
            ("invoices with an odd customer, sent as guests", self.invoices_with_odd_customer),
            ("rows whose invoice began with another customer", self.rows_with_another_customer),
            ("very long orders", self.long_orders),
            ("lines on the longest order", self.longest_order),
            ("orders naming an item twice", self.orders_with_repeated_items),
            ("items with negative prices only, sold at 0", self.items_with_only_negative_prices),
            ("items with fractions of a penny, rounded", self.items_with_fractions_of_a_penny),
            ("items named by their code", self.items_named_by_their_code),
            ("items with a shortened name", self.items_with_shortened_name),
            ("items with control characters in the name", self.items_with_control_characters_in_name),
            ("items with an odd code", self.items_with_odd_code),
            ("items differing from another in case only", self.items_differing_in_case_only),
        ]
    }
}
