//! What comes in once more of an invoice, and how it differs then.

use super::Upload;
use crate::chance::Chance;

/// What scanners take for each other.
const CONFUSED: [(char, char); 9] = [
    ('0', 'O'),
    ('1', 'l'),
    ('1', 'I'),
    ('5', 'S'),
    ('8', 'B'),
    ('2', 'Z'),
    ('6', 'G'),
    ('O', '0'),
    ('I', '1'),
];
/// What vendors add to a number that they issue again.
const AGAIN: [&str; 5] = ["-R", "A", " COPY", "-REV", "/C0RR"];

/// The same invoice as it comes in once more.
pub fn again(chance: &mut Chance, first: &Upload) -> Upload {
    let mut upload = first.clone();
    upload.comes_in = first.comes_in + chance.below(40) as i32;
    let why = match chance.below(100) {
        0..30 => {
            upload.vendor = spelled_otherwise(chance, &first.vendor);
            upload.number = number_spelled_otherwise(chance, &first.number);
            "spelled otherwise"
        }
        30..57 => {
            upload.number = misread(chance, &first.number);
            if chance.falls_within(0.3) {
                upload.vendor = misread(chance, &first.vendor);
            }
            if chance.falls_within(0.4) {
                misread_lines(chance, &mut upload);
            }
            "read by a scanner"
        }
        57..72 => {
            upload.number = mistyped(chance, &first.number);
            "mistyped"
        }
        72..84 => {
            upload.vendor = mistyped_name(chance, &first.vendor);
            upload.number = number_spelled_otherwise(chance, &first.number);
            "vendor mistyped"
        }
        84..92 => {
            upload.number = format!("{}{}", first.number, AGAIN[chance.below(AGAIN.len())]);
            upload.day += chance.below(8) as i32;
            "issued again"
        }
        92..96 => {
            upload.vendor = spelled_otherwise(chance, &first.vendor);
            upload.number = misread(chance, &first.number);
            upload.day += 1 + chance.below(3) as i32;
            upload.cents += [0, 1, -1][chance.below(3)];
            "another day, a cent off"
        }
        _ => {
            upload.number = misread(chance, &first.number);
            upload.lines.clear();
            "read without its lines"
        }
    };
    upload.again = Some(why);
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

/// One or two characters as a scanner may read them.
fn misread(chance: &mut Chance, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=chance.below(2) {
        let places: Vec<_> =
            (0..chars.len()).filter(|n| CONFUSED.iter().any(|(c, _)| *c == chars[*n])).collect();
        let Some(place) = places.get(chance.below(places.len().max(1))).copied() else { break };
        let choices: Vec<_> = CONFUSED.iter().filter(|(c, _)| *c == chars[place]).collect();
        chars[place] = choices[chance.below(choices.len())].1;
    }
    let read: String = chars.into_iter().collect();
    if read == text { mistyped_name(chance, text) } else { read }
}

/// A digit wrong, two digits turned, or one left out.
fn mistyped(chance: &mut Chance, number: &str) -> String {
    let mut chars: Vec<char> = number.chars().collect();
    let digits: Vec<_> = (0..chars.len()).filter(|n| chars[*n].is_ascii_digit()).collect();
    let place = digits[chance.below(digits.len())];
    match chance.below(3) {
        0 => chars[place] = char::from(b'0' + chance.below(10) as u8),
        1 => {
            let turned = |n: &&usize| {
                **n + 1 < chars.len() && chars[**n + 1].is_ascii_digit() && chars[**n] != chars[**n + 1]
            };
            if let Some(place) = digits.iter().find(turned).copied() {
                chars.swap(place, place + 1);
            }
        }
        _ => {
            chars.remove(place);
        }
    }
    chars.into_iter().collect()
}

/// A letter wrong, doubled, or left out.
fn mistyped_name(chance: &mut Chance, name: &str) -> String {
    let mut chars: Vec<char> = name.chars().collect();
    let place = 1 + chance.below(chars.len().saturating_sub(2).max(1));
    match chance.below(3) {
        0 => chars[place] = char::from(b'a' + chance.below(26) as u8),
        1 => chars.insert(place, chars[place]),
        _ => {
            chars.remove(place);
        }
    }
    chars.into_iter().collect()
}

fn misread_lines(chance: &mut Chance, upload: &mut Upload) {
    for (words, ..) in &mut upload.lines {
        if chance.falls_within(0.25) {
            *words = misread(chance, words);
        }
    }
}
