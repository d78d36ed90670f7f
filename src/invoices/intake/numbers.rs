//! How two invoices' numbers go together: spelled otherwise, read or typed wrong, issued again, or of one series. Pure.

use super::spelling::as_scanned;

/// How two numbers go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// The same, as spelled in one way.
    Same,
    /// One is the other, read or typed wrong.
    Misread,
    /// Its last two digits have changed places; or both are of one series.
    Turned,
    /// One is the other, issued again.
    Reissued,
    /// The one follows the other in a series.
    Next,
    /// Both are of one series.
    Series,
    /// They have nothing in common.
    Other,
}

/// What is added to a number that is issued again is no longer: a word, and which time it is.
const AGAIN_MAX_CHARS: usize = 10;
/// Numbers this long are no accident.
pub(super) const LONG_NUMBER: usize = 5;
/// Numbers no farther apart follow each other.
const NEXT_MAX: u64 = 2;

/// How two numbers go together, by their keys and their letters and digits.
#[must_use]
pub fn numbers(ours: (&str, &str), theirs: (&str, &str)) -> Numbers {
    let (one, other) = (ours.1, theirs.1);
    if ours.0 == theirs.0 || one == other {
        return Numbers::Same;
    }
    if are_lettered_parts(one, other) {
        return Numbers::Next;
    }
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    if is_issued_again(short, long) || is_counted_again(ours.0, theirs.0) {
        return Numbers::Reissued;
    }
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let same_digits = digits(one) == digits(other) && digits(one).len() >= LONG_NUMBER - 1;
    if same_digits || as_scanned(one) == as_scanned(other) {
        return Numbers::Misread;
    }
    if let Some(apart) = apart_in_series(one, other) {
        let is_typed_wrong = one_slip(one, other) && apart >= 100;
        let is_turned = one_slip(one, other) && sorted(one) == sorted(other) && apart >= 9;
        return match apart {
            _ if is_typed_wrong => Numbers::Misread,
            _ if is_turned => Numbers::Turned,
            ..=NEXT_MAX => Numbers::Next,
            _ => Numbers::Series,
        };
    }
    let is_close = short.len() >= LONG_NUMBER && one_slip(one, other);
    if is_close { Numbers::Misread } else { Numbers::Other }
}

/// Whether a word stands behind the number, as copy, R, or rev 2.
fn is_issued_again(short: &str, long: &str) -> bool {
    let Some(added) = long.strip_prefix(short).filter(|added| added.len() <= AGAIN_MAX_CHARS) else {
        return false;
    };
    let word = added.strip_suffix(|c: char| c.is_ascii_digit() && c != '0').unwrap_or(added);
    // A nought is how an O is written.
    let is_word = |c: char| c.is_alphabetic() || c == '0';
    word.starts_with(char::is_alphabetic) && word.chars().all(is_word)
}

/// Whether a digit of its own stands behind the number, as in 2024/17 (2).
fn is_counted_again(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let time = long.strip_prefix(short).and_then(|added| added.strip_prefix('-'));
    time.is_some_and(|time| matches!(time.as_bytes(), [b'2'..=b'9']))
}

/// Whether the numbers are of two parts of one, which end in different letters, and no scanner takes one for the other.
fn are_lettered_parts(one: &str, other: &str) -> bool {
    let split = |text: &str| {
        let last = text.chars().next_back().filter(char::is_ascii_alphabetic)?;
        Some((text[..text.len() - 1].to_owned(), last))
    };
    let (Some((head, letter)), Some((other_head, other_letter))) = (split(one), split(other)) else {
        return false;
    };
    let is_read_as_one = letter == other_letter || as_scanned(one) == as_scanned(other);
    head == other_head && head.ends_with(|c: char| c.is_ascii_digit()) && !is_read_as_one
}

/// Whether one character is wrong, missing or too many, or two that stand side by side are turned: what is left between
/// what they begin and what they end with is at most that.
pub(super) fn one_slip(one: &str, other: &str) -> bool {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    let head = one.iter().zip(&other).take_while(|(ours, theirs)| ours == theirs).count();
    let (one, other) = (&one[head..], &other[head..]);
    let tail = one.iter().rev().zip(other.iter().rev()).take_while(|(ours, theirs)| ours == theirs).count();
    match (&one[..one.len() - tail], &other[..other.len() - tail]) {
        ([_], [_] | []) | ([], [_]) => true,
        ([first, second], [other_first, other_second]) => first == other_second && second == other_first,
        _ => false,
    }
}

/// Whether it counts so few that many vendors have it: its last part has at most three digits.
#[must_use]
pub(super) fn is_small(key: &str) -> bool {
    let head = key.trim_end_matches(|c: char| c.is_ascii_digit());
    key.len() - head.len() < 4
}

fn sorted(text: &str) -> Vec<char> {
    let mut chars: Vec<_> = text.chars().collect();
    chars.sort_unstable();
    chars
}

/// How far two numbers are apart that differ in their last digits alone.
pub(super) fn apart_in_series(one: &str, other: &str) -> Option<u64> {
    let split = |text: &str| {
        let at = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        Some((text[..at].to_owned(), text[at..].parse::<u64>().ok()?))
    };
    let ((head, ours), (other_head, theirs)) = (split(one)?, split(other)?);
    (head == other_head && one.len().abs_diff(other.len()) <= 1).then(|| ours.abs_diff(theirs))
}

#[cfg(test)]
mod tests {
    use super::super::spelling::{number_key, squashed};
    use super::*;

    fn relation(one: &str, other: &str) -> Numbers {
        let (one, other) = ((number_key(one), squashed(one)), (number_key(other), squashed(other)));
        let there = numbers((&one.0, &one.1), (&other.0, &other.1));
        let back = numbers((&other.0, &other.1), (&one.0, &one.1));
        assert_eq!(there, back);
        there
    }

    #[test]
    fn numbers_are_told_apart_by_how_they_came_to_be_different() {
        for (one, other, expected) in [
            ("INV-0042", "inv42", Numbers::Same),
            ("2024-001", "2024001", Numbers::Same),
            ("INV-10482", "1NV-l0482", Numbers::Misread),
            ("INV-10482", "INV-1048Z", Numbers::Misread),
            ("INV-10482", "INV-10842", Numbers::Misread),
            ("INV-10482", "INV-19482", Numbers::Misread),
            ("INV-10482", "10482", Numbers::Misread),
            ("INV-10482", "INV-1482", Numbers::Misread),
            ("INV-10482", "INV-10482-R", Numbers::Reissued),
            ("INV-10482", "INV-10482 copy", Numbers::Reissued),
            ("INV-10482", "INV-10482 KORR", Numbers::Reissued),
            ("INV-10482", "INV-10482 Rev. 2", Numbers::Reissued),
            ("2024/0017", "2024/0017 (2)", Numbers::Reissued),
            ("2024/0017", "2024/00171", Numbers::Misread),
            ("INV-10482", "INV-10428", Numbers::Turned),
            ("INV-10482", "INV-10483", Numbers::Next),
            ("INV-100/1", "INV-100/2", Numbers::Next),
            ("INV-10482-A", "INV-10482-B", Numbers::Next),
            ("INV-10482A", "INV-10482C", Numbers::Next),
            ("INV-10482", "INV-10519", Numbers::Series),
            ("INV-10482", "RE/77", Numbers::Other),
        ] {
            assert_eq!(relation(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn one_slip_is_one_character_or_two_that_are_turned_and_no_more() {
        for (one, other, is_one) in [
            ("10482", "19482", true),
            ("10482", "1482", true),
            ("10482", "104822", true),
            ("10482", "10842", true),
            ("", "1", true),
            ("1122", "1112", true),
            ("10482", "10482", false),
            ("10482", "19483", false),
            ("10482", "80412", false),
            ("1234", "3412", false),
            ("10482", "482", false),
        ] {
            assert_eq!((one_slip(one, other), one_slip(other, one)), (is_one, is_one), "{one} {other}");
        }
    }
}
