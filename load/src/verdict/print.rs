//! The report in words.

use std::collections::BTreeMap;

use super::{BooksReport, CallKind, CallReport, FaultKind, FaultReport, RepeatFigures, Report};
use crate::measure::LatencySummary;
use crate::shop::Dirt;
use crate::terminal::{grouped, say};

/// Prints a replay's report, the verdict last.
pub fn print_replay(report: &Report) {
    print_plan(report);
    print_dirt(&report.dirt);
    print_calls(&report.calls);
    print_repeats(&report.repeats);
    print_books(&report.books);
    print_faults(&report.faults);
    say(&format!("VERDICT     {}", verdict(report.ok)));
}

/// The verdict in words.
pub const fn verdict(ok: bool) -> &'static str {
    if ok { "ok: every unit is accounted for" } else { "FAILED" }
}

/// Prints what went wrong, kind by kind.
pub fn print_faults(faults: &BTreeMap<FaultKind, FaultReport>) {
    for (kind, fault) in faults {
        say(&format!("FAULT       {}: {}", kind.phrase(), grouped(fault.count)));
        fault.examples.iter().for_each(|words| say(&format!("              {words}")));
        let more = fault.count - fault.examples.len() as u64;
        if more > 0 {
            say(&format!("              and {} more", grouped(more)));
        }
    }
}

fn print_plan(report: &Report) {
    let plan = &report.plan;
    say(&format!("run         {} against {}", report.run, report.targets.join(", ")));
    say(&format!(
        "file        {} sales of {} lines, {} returns of {} rows, {} corrections, {} customers",
        count(plan.sales),
        count(plan.sale_lines),
        count(plan.returns),
        count(plan.return_rows),
        count(plan.correction_rows),
        count(plan.customers)
    ));
    say(&format!(
        "stock       {} items, {} units opened for {} asked for",
        count(plan.items),
        plan.units_opened,
        plan.units_asked_for
    ));
    say(&format!(
        "returns     {} units back through their orders, {} beside any",
        plan.units_matched_to_orders, plan.units_not_matched
    ));
    let pace = report.rate.as_ref().map_or_else(
        || format!("{} workers, closed loop", report.concurrency),
        |rate| format!("{rate} orders a second, open loop, at most {} at once", report.concurrency),
    );
    say(&format!("pace        {pace}; {:.1} s, {:.1} sales/s", report.seconds, report.orders_per_second));
}

fn print_dirt(dirt: &Dirt) {
    say(&format!("dirt        {} rows read, {} skipped", grouped(dirt.rows), grouped(dirt.skipped())));
    for (words, number) in dirt.in_words().into_iter().filter(|(_, number)| *number > 0) {
        say(&format!("              {:>9}  {words}", grouped(number)));
    }
    for order in &dirt.too_long_orders {
        say(&format!("              order {order} has more lines than the service takes and was not sent"));
    }
}

/// Prints what was sent of each kind and what came back.
pub fn print_calls(calls: &BTreeMap<CallKind, CallReport>) {
    for (kind, call) in calls {
        say(&format!("{:<12}{} sent; {}", kind.word(), grouped(call.sent), listed(&call.answers)));
        say(&format!("              lock mode {}", listed(&call.lock_modes)));
        if !call.said_again.is_empty() {
            say(&format!("              said again after {}", listed(&call.said_again)));
        }
        if call.replayed + call.unresolved > 0 {
            say(&format!(
                "              {} answered by a replay, {} never answered",
                grouped(call.replayed),
                grouped(call.unresolved)
            ));
        }
        print_latencies("              ", &call.latency);
    }
}

/// Prints one line of percentiles.
pub fn print_latencies(indent: &str, latency: &LatencySummary) {
    say(&format!(
        "{indent}latency ms: p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
        latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms
    ));
}

/// Prints what became of what was sent twice on purpose.
pub fn print_repeats(repeats: &RepeatFigures) {
    let all = repeats.alongside + repeats.straight_after + repeats.at_the_end;
    if all > 0 {
        say(&format!(
            "repeated    {}: {} alongside, {} straight after, {} at the end; {} byte for byte the same",
            grouped(all),
            grouped(repeats.alongside),
            grouped(repeats.straight_after),
            grouped(repeats.at_the_end),
            grouped(repeats.identical)
        ));
        if !repeats.said_again.is_empty() {
            say(&format!("              said again after {}", listed(&repeats.said_again)));
        }
        if repeats.not_kept > 0 {
            say(&format!("              {} of answers that are not kept", grouped(repeats.not_kept)));
        }
    }
}

/// Prints what the books said.
pub fn print_books(books: &BooksReport) {
    let agreeing = books.items_checked - books.items_differing;
    let walked = if books.movements_walked > 0 {
        format!(", {} movements walked", grouped(books.movements_walked))
    } else {
        String::new()
    };
    say(&format!(
        "books       {} of {} items agree{walked}",
        grouped(agreeing),
        grouped(books.items_checked)
    ));
    for item in &books.differing {
        say(&format!("FAULT       item {} ({})", item.sku, item.variant_id));
        item.differences.iter().for_each(|words| say(&format!("              {words}")));
    }
    let more = books.items_differing - books.differing.len() as u64;
    if more > 0 {
        say(&format!("              and {} more items", grouped(more)));
    }
    say(&format!(
        "audit       {} ({} variants, {} movements)",
        if books.audit_ok { "ok" } else { "NOT OK" },
        grouped(books.audit_variants),
        grouped(books.audit_movements)
    ));
    books.audit_words.iter().for_each(|words| say(&format!("              {words}")));
}

/// Counts by their words, in one line.
pub fn listed<K: AsRef<str>>(counts: &BTreeMap<K, u64>) -> String {
    let parts: Vec<_> =
        counts.iter().map(|(word, number)| format!("{}: {}", word.as_ref(), grouped(*number))).collect();
    parts.join(", ")
}

fn count(number: usize) -> String {
    grouped(number as u64)
}
