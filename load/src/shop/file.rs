//! Reading the file: CSV, plain or gzipped, columns found by their names.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use csv::{ByteRecord, ReaderBuilder};
use flate2::read::MultiGzDecoder;
use rust_decimal::Decimal;

use super::Dirt;

/// One line of the file with its cells read.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it stands in the file, the heading being line 1.
    pub line: u64,
    pub invoice: String,
    pub stock_code: String,
    pub description: String,
    pub quantity: i64,
    pub unit_price: Decimal,
    pub customer: Option<String>,
}

const COLUMNS: [&str; 6] = ["InvoiceNo", "StockCode", "Description", "Quantity", "UnitPrice", "CustomerID"];

/// Reads every row of `path`; a row without a readable quantity or price is counted and left out.
pub fn read(path: &Path, dirt: &mut Dirt) -> anyhow::Result<Vec<Row>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    if packed { read_from(MultiGzDecoder::new(file), dirt) } else { read_from(file, dirt) }
        .with_context(|| format!("cannot read {}", path.display()))
}

fn read_from(input: impl Read, dirt: &mut Dirt) -> anyhow::Result<Vec<Row>> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(input);
    let headings = reader.headers().context("the heading")?.clone();
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = headings
            .iter()
            .position(|heading| heading.trim_start_matches('\u{feff}') == column)
            .with_context(|| format!("there is no column {column}"))?;
    }
    let mut rows = Vec::new();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        dirt.rows += 1;
        let line = dirt.rows + 1;
        match row(&record, &places, line, dirt) {
            Some(row) => rows.push(row),
            None => dirt.unreadable_rows += 1,
        }
    }
    Ok(rows)
}

fn row(record: &ByteRecord, places: &[usize; COLUMNS.len()], line: u64, dirt: &mut Dirt) -> Option<Row> {
    let mut cells: [String; COLUMNS.len()] = Default::default();
    let mut replaced = false;
    for (cell, place) in cells.iter_mut().zip(places) {
        let text = String::from_utf8_lossy(record.get(*place)?);
        replaced |= text.contains(char::REPLACEMENT_CHARACTER);
        *cell = text.trim().to_owned();
    }
    dirt.rows_not_utf8 += u64::from(replaced);
    let [invoice, stock_code, description, quantity, unit_price, customer] = cells;
    Some(Row {
        line,
        invoice,
        stock_code,
        description,
        quantity: quantity.parse().ok()?,
        unit_price: unit_price.parse().ok()?,
        customer: (!customer.is_empty()).then_some(customer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() -> anyhow::Result<()> {
        let mut dirt = Dirt::default();
        let text =
            "CustomerID,Quantity,StockCode,UnitPrice,Description,InvoiceNo\n,-3,85123A,2.55,\"A, B\",C1\n";
        let rows = read_from(text.as_bytes(), &mut dirt)?;
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].line, rows[0].invoice.as_str(), rows[0].quantity), (2, "C1", -3));
        assert_eq!(rows[0].description, "A, B");
        assert_eq!(rows[0].customer, None);
        assert_eq!(rows[0].unit_price, "2.55".parse()?);
        Ok(())
    }

    #[test]
    fn rows_without_a_number_or_a_cell_are_counted_and_left_out() -> anyhow::Result<()> {
        let mut dirt = Dirt::default();
        let text = "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID\n1,A,x,many,1,7\n1,A,x,1,dear,7\n1,A\n1,A,x,1,1,7\n";
        assert_eq!(read_from(text.as_bytes(), &mut dirt)?.len(), 1);
        assert_eq!((dirt.rows, dirt.unreadable_rows), (4, 3));
        Ok(())
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_counted() -> anyhow::Result<()> {
        let mut dirt = Dirt::default();
        let mut text =
            b"InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID\n1,A,voucher \xa340,1,1,7\n"
                .to_vec();
        text.extend_from_slice(b"2,A,plain,1,1,7\n");
        let rows = read_from(text.as_slice(), &mut dirt)?;
        assert_eq!(rows[0].description, "voucher \u{fffd}40");
        assert_eq!(dirt.rows_not_utf8, 1);
        Ok(())
    }

    #[test]
    fn a_missing_column_is_named() {
        let answer = read_from("InvoiceNo,StockCode\n".as_bytes(), &mut Dirt::default());
        assert!(answer.is_err_and(|error| error.to_string().contains("Description")));
    }
}
