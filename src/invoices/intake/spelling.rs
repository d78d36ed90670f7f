//! One spelling for what people and scanners spell in many ways. Pure: no database, no clock, no network.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// What stands for the form of a company, in the languages of our users, and the one way to write it. Those that say
/// nothing of which company it is are written as none.
const FORMS: [(&str, &str); 29] = [
    ("ab", "ab"),
    ("ag", "ag"),
    ("as", "as"),
    ("bv", "bv"),
    ("co", ""),
    ("company", ""),
    ("corp", "corp"),
    ("corporation", "corp"),
    ("eurl", "eurl"),
    ("gmbh", "gmbh"),
    ("inc", "inc"),
    ("incorporated", "inc"),
    ("kft", "kft"),
    ("kg", "kg"),
    ("limited", "ltd"),
    ("llc", "llc"),
    ("llp", "llp"),
    ("lp", "lp"),
    ("ltd", "ltd"),
    ("nv", "nv"),
    ("oy", "oy"),
    ("plc", "plc"),
    ("pty", ""),
    ("sa", "sa"),
    ("sarl", "sarl"),
    ("sas", "sas"),
    ("sl", "sl"),
    ("spa", "spa"),
    ("srl", "srl"),
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

/// What nobody sees, wherever it stands: soft hyphens, joiners, spaces without width, selectors of a glyph.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// A name's words, without marks, case and punctuation.
fn plain(name: &str) -> String {
    name.nfkd()
        .filter(|c| !is_combining_mark(*c) && !is_unseen(*c))
        .flat_map(char::to_lowercase)
        // Dots and apostrophes stand inside words, all else between them.
        .filter(|c| !matches!(c, '.' | '\'' | '\u{2019}'))
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect::<String>()
        .replace('\u{df}', "ss")
}

fn form_of(word: &str) -> Option<&'static str> {
    FORMS.iter().find(|(form, _)| *form == word).map(|(_, written)| *written)
}

/// A vendor's name as it is compared: without marks, case, punctuation and the company's form. Empty if it has neither
/// letter nor digit.
#[must_use]
pub fn vendor_key(name: &str) -> String {
    let plain = plain(name);
    let words =
        |is_kept: fn(&&str) -> bool| plain.split_whitespace().filter(is_kept).collect::<Vec<_>>().join(" ");
    let bare = words(|word| form_of(word).is_none() && !FILLERS.contains(word));
    if bare.is_empty() { words(|_| true) } else { bare }
}

/// The form of the company that a name tells, the last if it tells several; empty if it tells none.
#[must_use]
pub fn vendor_form(name: &str) -> &'static str {
    plain(name).split_whitespace().filter_map(form_of).rfind(|form| !form.is_empty()).unwrap_or_default()
}

/// Whether two companies of one name can be one: their forms are the same, or one of them tells none.
#[must_use]
pub fn forms_agree(one: &str, other: &str) -> bool {
    one == other || one.is_empty() || other.is_empty()
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
        .filter(|c| !is_combining_mark(*c) && !is_unseen(*c))
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
        assert_eq!(vendor_key("North\u{ad}wind\u{200b}s"), "northwinds");
        assert_eq!(vendor_key("\u{5d0}\u{5d1}\u{5d2}"), "\u{5d0}\u{5d1}\u{5d2}");
        for empty in ["", "  ", "--", "\u{301}\u{302}", "&."] {
            assert_eq!(vendor_key(empty), "", "{empty:?}");
        }
    }

    #[test]
    fn companies_of_one_name_are_told_apart_by_their_forms_where_both_tell_one() {
        for (one, other, agree) in [
            ("Acme Ltd", "Acme Limited", true),
            ("Acme Ltd", "ACME", true),
            ("Acme Co", "Acme Inc.", true),
            ("Acme S.A.", "Acme SA", true),
            ("Acme Ltd", "Acme GmbH", false),
            ("Acme GmbH", "Acme GmbH & Co. KG", false),
            ("AS Roma", "Roma SpA", false),
        ] {
            assert_eq!(forms_agree(vendor_form(one), vendor_form(other)), agree, "{one} {other}");
        }
        assert_ne!(vendor_key("Zoo Berlin"), vendor_key("Berlin AG"));
    }

    #[test]
    fn one_number_has_one_key_however_it_is_spelled() {
        for number in
            ["INV-0042", "inv 42", "Inv/O42", "INV.00042", "\u{ff29}NV#42", "#INV42", "INV-0\u{200b}042"]
        {
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
