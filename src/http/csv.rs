//! CSV as callers send it and as they are given it: RFC 4180, read row by row, so that what is wrong with one row is said of
//! that row.
//!
//! What must stay true: what is read is bounded, in bytes as any body and in rows. What is written can't be taken for a
//! formula by a spreadsheet, whatever somebody wrote into the database.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use csv::{ByteRecord, ReaderBuilder, Terminator, Trim, WriterBuilder};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::extract::whole;
use super::problem::{Code, Problem};
use crate::idempotency::{self, KeyedRequest};

/// How it is called in headers.
pub const MEDIA_TYPE: &str = "text/csv";
/// What may stand between two cells: as spreadsheets write it, in one country or another.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// What a spreadsheet takes for the beginning of a formula, in narrow signs and wide ones.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// A body of CSV.
#[derive(Debug)]
pub struct CsvBody {
    /// As it came.
    pub bytes: Bytes,
    /// The request's idempotency key, and what it stands for.
    pub keyed: Option<KeyedRequest>,
}

impl<S: Send + Sync> FromRequest<S> for CsvBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_media_type(&parts.headers)?;
        let bytes = whole(body).await?;
        let key = idempotency::key_of(&parts.headers)?;
        let meant = Value::String(hex::encode(Sha256::digest(&bytes)));
        let keyed = key.map(|key| KeyedRequest::new(key, parts.method.as_str(), parts.uri.path(), &meant));
        Ok(Self { bytes, keyed })
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(MEDIA_TYPE) && !headers.contains_key(CONTENT_ENCODING) {
        return Ok(());
    }
    let wanted = "Send the body as Content-Type: text/csv, in UTF-8 and without Content-Encoding.";
    Err(Problem::new(Code::UnsupportedMediaType, wanted))
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// On which line it begins; the header is on the first.
    pub line: u64,
    /// Its cells that are not empty, by their columns; or why it can't be read.
    pub cells: Result<BTreeMap<String, String>, String>,
}

/// Reads a table that may have these columns and must have the first `required` of them, in any order. Rows of nothing are
/// passed over.
///
/// # Errors
/// A [`Problem`]: the header is not that of such a table, or there are no rows or too many.
pub fn read(bytes: &[u8], columns: &[&str], required: usize, rows_max: usize) -> Result<Vec<Row>, Problem> {
    let mut reader =
        ReaderBuilder::new().delimiter(delimiter(bytes)).trim(Trim::All).flexible(true).from_reader(bytes);
    let unreadable = |_| Problem::invalid("", "is no CSV");
    let header = reader.byte_headers().map_err(unreadable)?.clone();
    let header = read_header(&header, columns, required)?;
    let (mut rows, mut record) = (Vec::new(), ByteRecord::new());
    let (mut line, mut seen) = (1, 0);
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        // The reader counts a line when it comes to the next one, and may stand before what ends the last.
        let place = |position: Option<&csv::Position>| {
            let byte = position.and_then(|position| usize::try_from(position.byte()).ok());
            byte.unwrap_or_default().min(bytes.len())
        };
        let begin = place(record.position());
        let begin = begin + bytes[begin..].iter().take_while(|byte| is_line_end(byte)).count();
        line += count_lines(&bytes[seen..begin]);
        seen = begin;
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        if rows.len() == rows_max {
            return Err(Problem::invalid("", format!("must have {rows_max} rows at most: send it in parts")));
        }
        let end = place(Some(reader.position())).max(begin);
        let last_line = line + count_lines(bytes[begin..end].trim_ascii_end());
        rows.push(Row { line, cells: read_row(&header, &record, last_line) });
    }
    if rows.is_empty() { Err(Problem::invalid("", "has no row beneath its header")) } else { Ok(rows) }
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// A line ends with LF, CRLF or CR.
fn count_lines(bytes: &[u8]) -> u64 {
    let ends = |(place, byte): (usize, &u8)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(place + 1) != Some(&b'\n'),
        _ => false,
    };
    bytes.iter().enumerate().filter(|one| ends(*one)).count() as u64
}

/// Whatever stands most in the first line.
fn delimiter(bytes: &[u8]) -> u8 {
    let first = bytes.split(is_line_end).find(|line| !line.is_empty()).unwrap_or_default();
    let often = |delimiter: &u8| first.iter().filter(|byte| *byte == delimiter).count();
    // Of those that are as often the first.
    DELIMITERS.into_iter().rev().max_by_key(often).unwrap_or(b',')
}

fn read_header(header: &ByteRecord, columns: &[&str], required: usize) -> Result<Vec<String>, Problem> {
    let names: Vec<_> = header.iter().map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
    for (place, name) in names.iter().enumerate() {
        if !columns.contains(&name.as_str()) {
            let known = columns.join(", ");
            return Err(Problem::invalid(format!("column {}", place + 1), format!("must be one of {known}")));
        }
        if names[..place].contains(name) {
            return Err(Problem::invalid(name.clone(), "is a column twice"));
        }
    }
    match columns.iter().take(required).find(|column| names.iter().all(|name| name != *column)) {
        Some(missing) => Err(Problem::invalid(*missing, "is a column that must be there")),
        None => Ok(names),
    }
}

fn read_row(
    header: &[String],
    record: &ByteRecord,
    last_line: u64,
) -> Result<BTreeMap<String, String>, String> {
    if record.iter().any(|cell| cell.iter().any(is_line_end)) {
        return Err(format!(
            "has a line break in a cell, and goes on to line {last_line}: is a quote missing?"
        ));
    }
    let (cells, columns) = (record.len(), header.len());
    if record.iter().skip(columns).any(|cell| !cell.is_empty()) || cells < columns {
        return Err(format!("has {cells} cells where the header has {columns}"));
    }
    let filled = header.iter().zip(record.iter()).filter(|(_, cell)| !cell.is_empty());
    filled
        .map(|(column, cell)| match std::str::from_utf8(cell) {
            Ok(text) => Ok((column.clone(), text.to_owned())),
            Err(_) => Err(format!("{column} is not UTF-8")),
        })
        .collect()
}

/// A file of CSV to be kept by whoever asked for it.
#[derive(Debug)]
pub struct CsvFile {
    /// What it is called, without its ending.
    pub name: String,
    /// Its rows, the header first.
    pub rows: Vec<Vec<Cell>>,
}

/// What stands in a cell.
#[derive(Debug, Clone)]
pub enum Cell {
    /// Words, as somebody wrote them.
    Text(String),
    /// A number.
    Number(i64),
    /// Nothing.
    Empty,
}

impl Cell {
    /// Words, or nothing.
    pub fn text(text: impl Into<Option<String>>) -> Self {
        text.into().map_or(Self::Empty, Self::Text)
    }

    /// A number, or nothing.
    pub fn number(number: impl Into<Option<i64>>) -> Self {
        number.into().map_or(Self::Empty, Self::Number)
    }

    /// As it is written. Words that a spreadsheet would calculate have an apostrophe before them, also after what some take
    /// for the end of a cell.
    fn written(&self) -> String {
        match self {
            Self::Text(text) => {
                let mut written = String::with_capacity(text.len());
                let mut begins = true;
                for sign in text.chars() {
                    if begins && FORMULA.contains(&sign) {
                        written.push('\'');
                    }
                    begins = u8::try_from(sign).is_ok_and(|sign| DELIMITERS.contains(&sign))
                        || (begins && sign == ' ');
                    written.push(sign);
                }
                written
            }
            Self::Number(number) => number.to_string(),
            Self::Empty => String::new(),
        }
    }
}

impl CsvFile {
    fn written(&self) -> Result<Vec<u8>, csv::Error> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
        for row in &self.rows {
            writer.write_record(row.iter().map(Cell::written))?;
        }
        writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    }
}

impl IntoResponse for CsvFile {
    fn into_response(self) -> Response {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name: String = self.name.chars().map(|c| if safe(c) { c } else { '_' }).collect();
        let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}.csv\""));
        let (Ok(written), Ok(disposition)) = (self.written(), disposition) else {
            return Problem::new(Code::Internal, "The file could not be written.").into_response();
        };
        let media_type = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
        ([(CONTENT_TYPE, media_type), (CONTENT_DISPOSITION, disposition)], written).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["sku", "units", "note"];

    fn rows(text: &str) -> Vec<(u64, Result<String, String>)> {
        let rows = read(text.as_bytes(), &COLUMNS, 1, 5).unwrap();
        let said = |row: Row| {
            let cells = row.cells.map(|cells| {
                cells.iter().map(|(name, cell)| format!("{name}={cell}")).collect::<Vec<_>>().join(" ")
            });
            (row.line, cells)
        };
        rows.into_iter().map(said).collect()
    }

    fn refused(text: &str) -> String {
        let problem = read(text.as_bytes(), &COLUMNS, 1, 5).unwrap_err();
        format!("{} {}", problem.errors[0].field, problem.errors[0].message)
    }

    #[test]
    fn rows_are_read_as_spreadsheets_write_them() {
        for text in [
            "sku,units\nA,1\nB,2\n",
            "\u{feff}SKU;Units\r\nA;1\r\n;\r\nB;2",
            "sku\tunits\n A \t1\n\nB\t\"2\"",
        ] {
            let read: Vec<_> = rows(text).into_iter().map(|(_, cells)| cells.unwrap()).collect();
            assert_eq!(read, ["sku=A units=1", "sku=B units=2"], "{text:?}");
        }
        for end in ["\n", "\r\n"] {
            let read = rows(&["sku,units", "A,1", "", "B,2", ",", "\"C\",3", ""].join(end));
            assert_eq!(read.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 6], "{end:?}");
        }
        assert_eq!(rows("sku,note\n\"a,\"\"b\"\"\",\nB,2,,")[0].1, Ok("sku=a,\"b\"".to_owned()));
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said_of_it_and_the_others_are_read() {
        let read = rows("sku,units\nA\nB,2\nC,3,4\nD,\"5\nE,6\n");
        let wrong: Vec<_> = read.iter().map(|(line, cells)| (*line, cells.is_err())).collect();
        assert_eq!(wrong, [(2, true), (3, false), (4, true), (5, true)]);
        assert!(read[3].1.as_ref().is_err_and(|why| why.contains("to line 6")), "{read:?}");
        let read = super::read(b"sku\nA\n\xff\nB\n", &COLUMNS, 1, 5).unwrap();
        assert_eq!(read[1].cells, Err("sku is not UTF-8".to_owned()));
        assert_eq!((read[2].line, read[2].cells.is_ok()), (4, true));
    }

    #[test]
    fn what_is_no_such_table_is_refused_whole() {
        for (text, why) in [
            ("", "column"),
            ("sku,units", "has no row"),
            ("sku,price\nA,1", "column 2 must be one of sku, units, note"),
            ("sku,sku\nA,1", "sku is a column twice"),
            ("units\n1", "sku is a column that must be there"),
            ("sku\n1\n2\n3\n4\n5\n6", "5 rows at most"),
        ] {
            assert!(refused(text).contains(why), "{text:?}: {}", refused(text));
        }
    }

    #[test]
    fn what_is_written_is_no_formula_and_is_read_again_as_it_was() {
        let text = |text: &str| Cell::text(text.to_owned());
        let file = CsvFile {
            name: "x".to_owned(),
            rows: vec![
                vec![text("sku"), text("units"), text("note")],
                vec![text("=HYPERLINK(\"x\")"), Cell::number(-7), Cell::Empty],
                vec![text("a,b"), Cell::number(3), text("+1")],
                vec![text("a; =b"), Cell::number(3), text("1-2")],
            ],
        };
        let written = String::from_utf8(file.written().unwrap()).unwrap();
        assert_eq!(
            written,
            "sku,units,note\r\n\"'=HYPERLINK(\"\"x\"\")\",-7,\r\n\"a,b\",3,'+1\r\na; '=b,3,1-2\r\n"
        );
        assert_eq!(rows(&written)[1].1, Ok("note='+1 sku=a,b units=3".to_owned()));
        for sign in FORMULA {
            assert!(text(&format!("{sign}1")).written().starts_with('\''), "{sign:?}");
        }
    }
}
