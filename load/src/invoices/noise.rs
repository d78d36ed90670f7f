//! What comes in once more of an invoice, and how it differs then.

use super::Upload;
use super::slip::{misread, misspelled, mistyped, other_day, other_total};
use crate::chance::Chance;

/// What vendors and clerks add to a number that is issued or filed again.
const AGAIN: [&str; 12] = [
    "-R",
    " COPY",
    "-REV",
    "/CORR",
    " (2)",
    "-DUPL",
    " KORR",
    "-NEU",
    " Rev. 2",
    " bis",
    "-RE",
    " Duplicate",
];

type Change = fn(&mut Chance, &mut Upload);

/// Why an invoice comes in once more, how often of a hundred, and what is wrong with it then.
const WAYS: [(&str, usize, Change); 12] = [
    ("the same file", 5, |_, _| {}),
    ("the file, saved anew", 7, |chance, upload| upload.file = Some(chance.next())),
    ("spelled otherwise", 18, |chance, upload| {
        upload.vendor = spelled_otherwise(chance, &upload.vendor);
        upload.number = number_spelled_otherwise(chance, &upload.number);
    }),
    ("read by a scanner", 20, |chance, upload| {
        upload.number = misread(chance, &upload.number);
        if chance.falls_within(0.3) {
            upload.vendor = misread(chance, &upload.vendor);
        }
        if chance.falls_within(0.4) {
            misread_lines(chance, upload);
        }
    }),
    ("mistyped", 8, |chance, upload| upload.number = mistyped(chance, &upload.number)),
    ("vendor misspelled", 11, |chance, upload| {
        upload.vendor = misspelled(chance, &upload.vendor);
        upload.number = number_spelled_otherwise(chance, &upload.number);
    }),
    ("issued again", 8, |chance, upload| {
        upload.number += AGAIN[chance.below(AGAIN.len())];
        upload.day += chance.below(8) as i32;
    }),
    ("date read wrong", 8, |chance, upload| upload.day = other_day(chance, upload.day)),
    ("total read wrong", 6, |chance, upload| upload.cents = other_total(chance, upload.cents)),
    ("currency read wrong", 2, |_, upload| {
        upload.currency = if upload.currency == "EUR" { "USD" } else { "EUR" };
    }),
    ("read without its lines", 4, |chance, upload| {
        upload.number = misread(chance, &upload.number);
        upload.lines.clear();
    }),
    ("another day, a cent off", 3, |chance, upload| {
        upload.vendor = spelled_otherwise(chance, &upload.vendor);
        upload.number = misread(chance, &upload.number);
        upload.day += 1 + chance.below(3) as i32;
        upload.cents += [0, 1, -1][chance.below(3)];
    }),
];
/// How often something is wrong besides.
const BESIDES: f64 = 0.1;

/// The same invoice as it comes in once more.
pub fn again(chance: &mut Chance, first: &Upload) -> Upload {
    let mut upload = first.clone();
    upload.comes_in = first.comes_in + chance.below(40) as i32;
    let mut drawn = chance.below(WAYS.iter().map(|(_, often, _)| often).sum());
    for (why, often, change) in WAYS {
        if drawn < often {
            upload.again = Some(why);
            // Whoever reads it anew has another file, or none.
            if !why.starts_with("the same file") {
                upload.file = None;
            }
            change(chance, &mut upload);
            break;
        }
        drawn -= often;
    }
    if upload.file.is_none() {
        if chance.falls_within(BESIDES) {
            upload.vendor = spelled_otherwise(chance, &upload.vendor);
        }
        if chance.falls_within(BESIDES) {
            upload.lines.clear();
        }
    }
    upload
}

fn spelled_otherwise(chance: &mut Chance, vendor: &str) -> String {
    match chance.below(4) {
        0 => vendor.to_uppercase(),
        1 => vendor.replace(['.', ','], ""),
        2 => vendor
            .rsplit_once(' ')
            .filter(|(head, _)| head.contains(' '))
            .map_or(vendor, |(head, _)| head)
            .to_owned(),
        _ => vendor.replace("ü", "u").replace("ä", "a").replace(' ', "  "),
    }
}

fn number_spelled_otherwise(chance: &mut Chance, number: &str) -> String {
    match chance.below(5) {
        0 => number.to_lowercase(),
        1 => number.replace(['-', '/'], " "),
        2 => number.replacen('0', "O", 1),
        3 => format!("#{number}"),
        _ => number.to_owned(),
    }
}

fn misread_lines(chance: &mut Chance, upload: &mut Upload) {
    for (words, ..) in &mut upload.lines {
        if chance.falls_within(0.25) {
            *words = misread(chance, words);
        }
    }
}
