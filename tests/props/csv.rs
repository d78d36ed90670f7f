//! Files of CSV, written well and badly: no bytes make the reader fall over, and of what can be read each row is on its line.

use std::collections::BTreeMap;

use holdfast::http::csv::{Row, read};
use proptest::prelude::*;

const COLUMNS: [&str; 3] = ["sku", "units", "note"];

/// What a file has beneath its header.
#[derive(Debug, Clone)]
enum Piece {
    Cells([(String, bool); 3]),
    /// A cell that a line ends in.
    Broken(String),
    /// Three empty cells.
    Nothing,
    Blank,
}

fn piece() -> impl Strategy<Value = Piece> {
    let cell = || {
        ("[a-z0-9,;\t\"é ]{0,5}", any::<bool>()).prop_map(|(text, quoted)| (text.trim().to_owned(), quoted))
    };
    prop_oneof![
        6 => [cell(), cell(), cell()].prop_map(Piece::Cells),
        1 => "[a-z]{1,3}".prop_map(Piece::Broken),
        1 => Just(Piece::Nothing),
        1 => Just(Piece::Blank),
    ]
}

/// As RFC 4180 has it.
fn written((text, quoted): &(String, bool)) -> String {
    if *quoted || text.contains([',', ';', '\t', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.clone()
    }
}

/// A row's line, and its cells; nothing where it can't be read.
type Told = (u64, Option<BTreeMap<String, String>>);

fn told(row: Row) -> Told {
    (row.line, row.cells.ok())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_fall_over_and_no_row_is_above_the_one_before(
        header in prop_oneof![Just(&b"sku,units,note\n"[..]), Just(&b"\xef\xbb\xbfsku\r"[..]), Just(&b""[..])],
        bytes in proptest::collection::vec(
            prop_oneof![9 => proptest::sample::select(b",;\t\"\r\n a1\xc3".to_vec()), 1 => any::<u8>()], 0..200),
    ) {
        let file = [header, &bytes[..]].concat();
        if let Ok(rows) = read(&file, &COLUMNS, 1, 50) {
            prop_assert!(!rows.is_empty() && rows.len() <= 50);
            prop_assert!(rows.windows(2).all(|two| two[0].line < two[1].line), "{rows:?}");
            let lines = file.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
            prop_assert!(rows.iter().all(|row| (2..=lines).contains(&row.line)), "{rows:?}");
        }
    }

    #[test]
    fn each_row_is_read_as_it_was_written_on_the_line_where_it_begins_and_none_is_lost(
        pieces in proptest::collection::vec(piece(), 0..12),
        between in proptest::sample::select(vec![",", ";", "\t"]),
        end in proptest::sample::select(vec!["\n", "\r\n", "\r"]),
        has_mark in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let mark = if has_mark { "\u{feff}" } else { "" };
        let mut file = format!("{mark}{}{end}", COLUMNS.join(between));
        let (mut line, mut expected) = (2, Vec::<Told>::new());
        for piece in &pieces {
            match piece {
                Piece::Cells(cells) => {
                    file += &cells.iter().map(written).collect::<Vec<_>>().join(between);
                    let filled = COLUMNS.iter().zip(cells).filter(|(_, (text, _))| !text.is_empty());
                    let filled: BTreeMap<_, _> =
                        filled.map(|(name, (text, _))| ((*name).to_owned(), text.clone())).collect();
                    if !filled.is_empty() {
                        expected.push((line, Some(filled)));
                    }
                }
                Piece::Broken(text) => {
                    file += &format!("{text}{between}\"1{end}2\"{between}");
                    expected.push((line, None));
                    line += 1;
                }
                Piece::Nothing => file += &between.repeat(2),
                Piece::Blank => {}
            }
            file += end;
            line += 1;
        }
        if !ends && !pieces.is_empty() {
            file.truncate(file.len() - end.len());
        }
        let found: Vec<Told> = read(file.as_bytes(), &COLUMNS, 1, 50).map_or(Vec::new(), |rows| rows.into_iter().map(told).collect());
        prop_assert_eq!(found, expected, "{:?}", file);
    }
}
