//! How people and scanners get things wrong. None of this is drawn from what the rules know: these are other tables, and any
//! letter or digit may be hit.

use crate::chance::Chance;

/// What scanners read for each other, whether or not anybody expects it.
const MISREAD: [(&str, &str); 38] = [
    ("0", "O"),
    ("0", "o"),
    ("0", "6"),
    ("0", "8"),
    ("O", "0"),
    ("1", "l"),
    ("1", "I"),
    ("1", "7"),
    ("1", "i"),
    ("2", "Z"),
    ("2", "7"),
    ("3", "8"),
    ("4", "A"),
    ("4", "9"),
    ("5", "S"),
    ("5", "6"),
    ("6", "G"),
    ("6", "b"),
    ("7", "1"),
    ("7", "T"),
    ("8", "B"),
    ("8", "3"),
    ("9", "g"),
    ("9", "q"),
    ("I", "l"),
    ("N", "H"),
    ("V", "Y"),
    ("R", "P"),
    ("E", "F"),
    ("-", ""),
    ("-", " "),
    ("/", "1"),
    ("rn", "m"),
    ("m", "rn"),
    ("c", "e"),
    ("a", "o"),
    ("u", "ii"),
    ("t", "f"),
];

/// The text with one thing in it read wrong, if a scanner could.
pub fn misread(chance: &mut Chance, text: &str) -> String {
    let hits: Vec<_> = MISREAD
        .iter()
        .flat_map(|(right, wrong)| text.match_indices(right).map(move |(at, _)| (at, *right, *wrong)))
        .collect();
    let Some((at, right, wrong)) = hits.get(chance.below(hits.len().max(1))).copied() else {
        return text.to_owned();
    };
    format!("{}{wrong}{}", &text[..at], &text[at + right.len()..])
}

/// A digit wrong, two digits turned, one left out, or one too many.
pub fn mistyped(chance: &mut Chance, number: &str) -> String {
    let mut chars: Vec<char> = number.chars().collect();
    let digits: Vec<_> = (0..chars.len()).filter(|n| chars[*n].is_ascii_digit()).collect();
    let place = digits[chance.below(digits.len())];
    let any = char::from(b'0' + chance.below(10) as u8);
    match chance.below(5) {
        0 => chars[place] = any,
        1 => chars.insert(place, any),
        2 => drop(chars.remove(place)),
        _ => {
            let turnable: Vec<_> = digits.windows(2).filter(|two| two[0] + 1 == two[1]).collect();
            let two = turnable.get(chance.below(turnable.len().max(1)));
            if let Some(two) = two {
                chars.swap(two[0], two[1]);
            }
        }
    }
    chars.into_iter().collect()
}

/// A name with a letter wrong, doubled, left out or turned with the next; with a word short, or joined to the next.
pub fn misspelled(chance: &mut Chance, name: &str) -> String {
    let mut chars: Vec<char> = name.chars().collect();
    let place = chance.below(chars.len() - 1);
    match chance.below(7) {
        0 => chars[place] = char::from(b'a' + chance.below(26) as u8),
        1 => chars.insert(place, chars[place]),
        2 => drop(chars.remove(place)),
        3 | 4 => chars.swap(place, place + 1),
        5 => {
            // Traders Ltd, Trad. Ltd
            let word = name.split(' ').map(str::len).max().unwrap_or(0);
            let long = name.split(' ').find(|one| one.len() == word).unwrap_or_default();
            let short: String = long.chars().take(4).collect();
            return name.replacen(long, &format!("{short}."), 1);
        }
        _ => return name.replacen(' ', "", 1),
    }
    chars.into_iter().collect()
}

/// The day with day and month in each other's place, or that of the post that brought it.
pub fn other_day(chance: &mut Chance, day: i32) -> i32 {
    let date = chrono::DateTime::from_timestamp(i64::from(day) * 86_400, 0).unwrap_or_default().date_naive();
    let turned = chrono::Datelike::with_day(&date, chrono::Datelike::month(&date))
        .and_then(|turned| chrono::Datelike::with_month(&turned, chrono::Datelike::day(&date)))
        .filter(|turned| *turned != date)
        .map(|turned| (turned - chrono::NaiveDate::default()).num_days() as i32);
    match (turned, chance.below(2)) {
        (Some(turned), 0) => turned,
        _ => day + 1 + chance.below(9) as i32,
    }
}

/// A sum with a digit wrong, two turned, without its tax, or with what is to be paid within a week.
pub fn other_total(chance: &mut Chance, cents: i64) -> i64 {
    let digits = cents.to_string();
    let read = match chance.below(5) {
        0 => cents * 5 / 6,
        1 => cents * 98 / 100,
        2 => misread(chance, &digits).parse().unwrap_or(cents * 10),
        _ => mistyped(chance, &digits).parse().unwrap_or(cents * 10),
    };
    if read == cents { cents + 100 } else { read }
}
