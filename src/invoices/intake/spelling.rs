//! One spelling for what people and scanners spell in many ways. Pure: no database, no clock, no network.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// What stands for the form of a company, in the languages of our users, and says nothing of which.
const FORMS: [&str; 30] = [
    "ab",
    "ag",
    "as",
    "bv",
    "co",
    "company",
    "corp",
    "corporation",
    "eurl",
    "gmbh",
    "inc",
    "incorporated",
    "kft",
    "kg",
    "limited",
    "llc",
    "llp",
    "lp",
    "ltd",
    "nv",
    "oy",
    "plc",
    "pty",
    "sa",
    "sarl",
    "sas",
    "sl",
    "spa",
    "srl",
    "zoo",
];
/// What is left out between words.
const FILLERS: [&str; 4] = ["and", "the", "und", "et"];
/// Letters that scanners take for digits, and the digit each is taken for.
const MISREAD: [(char, char); 13] = [
    ('O', '0'),
    ('Q', '0'),
    ('D', '0'),
    ('I', '1'),
    ('L', '1'),
    ('J', '1'),
    ('Z', '2'),
    ('A', '4'),
    ('S', '5'),
    ('G', '6'),
    ('T', '7'),
    ('B', '8'),
    ('P', '9'),
];

/// A vendor's name as it is compared: without marks, case, punctuation and the company's form. Empty if it has neither
/// letter nor digit.
#[must_use]
pub fn vendor_key(name: &str) -> String {
    let plain: String = name
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        // Dots and apostrophes stand inside words, all else between them.
        .filter(|c| !matches!(c, '.' | '\'' | '\u{2019}'))
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect::<String>()
        .replace('\u{df}', "ss");
    let words =
        |is_kept: fn(&&str) -> bool| plain.split_whitespace().filter(is_kept).collect::<Vec<_>>().join(" ");
    let bare = words(|word| !FORMS.contains(word) && !FILLERS.contains(word));
    if bare.is_empty() { words(|_| true) } else { bare }
}

/// Letters and digits alone, in capitals, with a nought for each O.
#[must_use]
pub fn squashed(number: &str) -> String {
    letters_and_digits(number).filter(|c| c.is_alphanumeric()).collect()
}

/// An invoice's number as it is compared: [squashed], without noughts at the beginning of its parts. Whatever parts two
/// digits stays as a dash: 1-23 is not 12-3. Empty if it has neither letter nor digit.
#[must_use]
pub fn number_key(number: &str) -> String {
    let mut key = String::new();
    let (mut parted, mut leading) = (false, true);
    let mut rest = letters_and_digits(number).peekable();
    while let Some(c) = rest.next() {
        if !c.is_alphanumeric() {
            parted = true;
            continue;
        }
        let after_digit = key.ends_with(|last: char| last.is_ascii_digit());
        if parted && after_digit && c.is_ascii_digit() {
            key.push('-');
        }
        if parted || !after_digit {
            leading = true;
        }
        parted = false;
        // The last nought of a part of noughts stays.
        let more = rest.peek().is_some_and(char::is_ascii_digit);
        if c == '0' && leading && more {
            continue;
        }
        leading = false;
        key.push(c);
    }
    key
}

fn letters_and_digits(number: &str) -> impl Iterator<Item = char> {
    number
        .nfkc()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_uppercase)
        .map(|c| if c == 'O' { '0' } else { c })
}

/// The same for all that a scanner may have read of one thing.
#[must_use]
pub fn as_scanned(squashed: &str) -> String {
    let read = |c| MISREAD.iter().find(|(letter, _)| *letter == c).map_or(c, |(_, digit)| *digit);
    squashed.chars().map(read).collect()
}

/// A line's words as they are compared.
#[must_use]
pub fn words_key(words: &str) -> String {
    let plain = words.nfkd().filter(|c| c.is_alphanumeric());
    plain.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_vendor_has_one_key_however_it_is_spelled() {
        for name in [
            "Müller & Söhne GmbH",
            "MULLER SOHNE",
            "Muller, Sohne g.m.b.h.",
            "The Mu\u{308}ller and Söhne Ltd.",
        ] {
            assert_eq!(vendor_key(name), "muller sohne", "{name}");
        }
        assert_eq!(vendor_key("Limited Company"), "limited company");
        assert_eq!(vendor_key("\u{5d0}\u{5d1}\u{5d2}"), "\u{5d0}\u{5d1}\u{5d2}");
        for empty in ["", "  ", "--", "\u{301}\u{302}", "&."] {
            assert_eq!(vendor_key(empty), "", "{empty:?}");
        }
    }

    #[test]
    fn one_number_has_one_key_however_it_is_spelled() {
        for number in ["INV-0042", "inv 42", "Inv/O42", "INV.00042", "\u{ff29}NV#42", "#INV42"] {
            assert_eq!(number_key(number), "INV42", "{number}");
        }
        for (one, other) in [("2024/001", "2024-1"), ("000", "0"), ("A-0-B", "A00B"), ("10", "1O")] {
            assert_eq!(number_key(one), number_key(other), "{one} {other}");
        }
        for (one, other) in
            [("12-3", "1-23"), ("2024/1-11", "2024/11-1"), ("100", "1"), ("42", "420"), ("A1", "B1")]
        {
            assert_ne!(number_key(one), number_key(other), "{one} {other}");
        }
        assert_eq!((number_key("--"), number_key("\u{301}")), (String::new(), String::new()));
    }
}
