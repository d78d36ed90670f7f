//! What others call a duplicate, as they are described. They compare vendors that somebody has picked from a list, so each is
//! told who the vendor is, however it was written: none misses anything for a name that is misspelled.

use chrono::{DateTime, Datelike};

use super::Upload;

type Rule = fn(&Upload, &Upload) -> bool;

/// Their names and rules.
pub const RIVALS: [(&str, Rule); 3] = [
    // The same file; the same vendor and number on a day; or the same vendor, a day and a cent apart at most.
    ("source document", |ours, theirs| {
        let (days, cents) = ((ours.day - theirs.day).abs(), (ours.cents - theirs.cents).abs());
        let is_near = (ours.number == theirs.number && days == 0) || (days <= 1 && cents <= 1);
        (ours.file.is_some() && ours.file == theirs.file) || (ours.partner == theirs.partner && is_near)
    }),
    // The same reference in a year, or the same total on a day, of one partner, in one currency.
    ("odoo", |ours, theirs| {
        let is_same_bill = ours.number == theirs.number && year(ours) == year(theirs);
        let is_same_sum = ours.cents == theirs.cents && ours.day == theirs.day;
        ours.partner == theirs.partner && ours.currency == theirs.currency && (is_same_bill || is_same_sum)
    }),
    // The same bill number of a supplier in a year.
    ("erpnext", |ours, theirs| {
        ours.partner == theirs.partner && ours.number == theirs.number && year(ours) == year(theirs)
    }),
];

fn year(upload: &Upload) -> i32 {
    DateTime::from_timestamp(i64::from(upload.day) * 86_400, 0).unwrap_or_default().year()
}
