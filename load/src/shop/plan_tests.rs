//! How rows become a plan.

use super::*;

struct File(Vec<Row>);

impl File {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn row(self, invoice: &str, code: &str, quantity: i64, price: &str, customer: &str) -> Self {
        self.described(invoice, code, "THING", quantity, price, customer)
    }

    fn described(
        mut self,
        invoice: &str,
        code: &str,
        description: &str,
        quantity: i64,
        price: &str,
        customer: &str,
    ) -> Self {
        self.0.push(Row {
            line: self.0.len() as u64 + 2,
            invoice: invoice.into(),
            stock_code: code.into(),
            description: description.into(),
            quantity,
            unit_price: price.parse().unwrap_or(Decimal::MAX),
            customer: (!customer.is_empty()).then(|| customer.into()),
        });
        self
    }

    fn plan(self) -> (Plan, Dirt) {
        self.first(None)
    }

    fn first(self, limit: Option<usize>) -> (Plan, Dirt) {
        let mut dirt = Dirt::default();
        let plan = Plan::new(self.0, &Naming::new("r"), Decimal::new(9, 1), limit, &mut dirt);
        (plan, dirt)
    }
}

#[test]
fn an_invoice_is_one_piece_of_work_in_the_place_of_its_first_row() {
    let (plan, _) = File::new()
        .row("1", "A", 2, "1.00", "17850")
        .row("2", "B", 1, "1.00", "13047")
        .row("1", "A", 3, "1.00", "17850")
        .row("C3", "A", -1, "1.00", "17850")
        .plan();
    let numbers: Vec<_> = plan.invoices.iter().map(|invoice| invoice.number.as_str()).collect();
    assert_eq!(numbers, ["1", "2", "C3"]);
    let lines = vec![SaleLine { item: 0, quantity: 2 }, SaleLine { item: 0, quantity: 3 }];
    assert_eq!(plan.invoices[0].work, Work::Sale(lines));
    assert_eq!(plan.invoices[0].user_id, "r-17850");
    assert_eq!(plan.invoices[2].work, Work::Return(vec![ReturnRow { line: 5, item: 0, quantity: 1 }]));
    assert_eq!(plan.sales(), 2);
}

#[test]
fn demand_is_what_sales_ask_for_and_nothing_else() {
    let (plan, _) = File::new()
        .row("1", "A", 7, "1", "1")
        .row("1", "A", 3, "1", "1")
        .row("C2", "A", -5, "1", "1")
        .row("3", "A", -2, "0", "")
        .plan();
    assert_eq!((plan.items[0].demand, plan.items[0].opening), (10, 9));
}

#[test]
fn guests_have_a_stable_name_of_their_own() {
    let (plan, dirt) = File::new().row("1", "A", 1, "1", "").row("2", "A", 1, "1", "not é").plan();
    assert_eq!((plan.invoices[0].user_id.as_str(), &plan.invoices[0].customer), ("r-guest-1", &None));
    assert_eq!((plan.invoices[1].user_id.as_str(), &plan.invoices[1].customer), ("r-guest-2", &None));
    assert_eq!((dirt.invoices_without_customer, dirt.invoices_with_odd_customer), (1, 1));
}

#[test]
fn corrections_keep_their_description_as_the_reason() {
    let (plan, _) =
        File::new().described("1", "A", "damaged", -4, "0", "").described("1", "A", "", -1, "0", "").plan();
    let Work::Corrections(corrections) = &plan.invoices[0].work else {
        panic!("not corrections: {:?}", plan.invoices[0].work);
    };
    let reasons: Vec<_> = corrections.iter().map(|one| (one.delta, one.reason.as_str())).collect();
    assert_eq!(reasons, [(-4, "damaged"), (-1, "correction")]);
}

#[test]
fn a_sale_with_corrections_becomes_two_pieces_of_work() {
    let (plan, _) = File::new().row("1", "A", 4, "1", "9").row("1", "B", -1, "0", "9").plan();
    assert_eq!(plan.invoices.len(), 2);
    assert!(matches!(plan.invoices[0].work, Work::Sale(_)));
    assert!(matches!(plan.invoices[1].work, Work::Corrections(_)));
}

#[test]
fn the_price_is_the_first_that_is_not_negative() {
    let (plan, dirt) = File::new()
        .row("1", "A", 1, "-5", "1")
        .row("2", "A", 1, "0", "1")
        .row("3", "A", 1, "7", "1")
        .row("3", "B", 1, "-1", "1")
        .row("3", "C", 1, "0.005", "1")
        .plan();
    let prices: Vec<_> = plan.items.iter().map(|item| item.price).collect();
    assert_eq!(prices, [Decimal::ZERO, Decimal::ZERO, Decimal::new(1, 2)]);
    assert_eq!((dirt.items_with_only_negative_prices, dirt.items_with_fractions_of_a_penny), (1, 1));
    assert_eq!((dirt.rows_with_price_zero, dirt.rows_with_negative_price), (1, 2));
}

#[test]
fn an_item_is_called_what_it_is_sold_as() {
    let (plan, dirt) = File::new()
        .described("1", "A", "lost", -1, "0", "")
        .described("2", "A", "", 1, "1", "1")
        .described("3", "A", "WHITE MUG", 1, "1", "1")
        .described("4", "B", "", 1, "1", "1")
        .described("5", "C", "?", -1, "0", "")
        .plan();
    let names: Vec<_> = plan.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["WHITE MUG", "B", "?"]);
    assert_eq!((dirt.items_named_by_their_code, dirt.rows_without_description), (1, 2));
}

#[test]
fn codes_that_differ_in_case_are_different_items() {
    let (plan, dirt) = File::new()
        .row("1", "85123a", 1, "1", "1")
        .row("1", "85123A", 1, "1", "1")
        .row("1", "gift_1", 1, "1", "1")
        .plan();
    assert_eq!(plan.items.len(), 3);
    assert_eq!((dirt.items_differing_in_case_only, dirt.items_with_odd_code), (2, 1));
}

#[test]
fn an_order_that_is_too_long_is_left_out_whole() {
    let mut file = File::new();
    for line in 0..2_001 {
        file = file.row("1", &format!("{line}"), 1, "1", "1");
    }
    let (plan, dirt) = file.row("2", "0", 5, "1", "1").plan();
    assert_eq!(plan.invoices.len(), 1);
    assert_eq!((plan.items[0].demand, plan.items[1].demand), (5, 0));
    assert_eq!((dirt.skipped_rows_of_too_long_orders, dirt.skipped()), (2_001, 2_001));
    assert_eq!(dirt.too_long_orders, ["1"]);
}

#[test]
fn long_orders_and_repeated_items_are_counted() {
    let mut file = File::new().row("1", "A", 1, "1", "1").row("1", "A", 1, "1", "1");
    for line in 0..705 {
        file = file.row("2", &format!("{line}"), 1, "1", "1");
    }
    let (_, dirt) = file.plan();
    assert_eq!((dirt.long_orders, dirt.longest_order, dirt.orders_with_repeated_items), (1, 705, 1));
}

#[test]
fn only_the_first_invoices_are_taken_with_all_their_rows() {
    let (plan, dirt) = File::new()
        .row("1", "A", 1, "1", "1")
        .row("2", "B", 1, "1", "1")
        .row("1", "A", 1, "1", "1")
        .first(Some(1));
    assert_eq!((plan.invoices.len(), plan.items.len(), plan.items[0].demand), (1, 1, 2));
    assert_eq!(dirt.rows_not_asked_for, 1);
}

#[test]
fn accounting_entries_leave_no_trace_but_a_count() {
    let (plan, dirt) = File::new().row("A1", "B", 1, "-11062.06", "").plan();
    assert!(plan.items.is_empty() && plan.invoices.is_empty());
    assert_eq!((dirt.skipped_accounting, dirt.rows_with_negative_price), (1, 0));
}
