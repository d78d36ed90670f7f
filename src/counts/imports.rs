//! What an import of a file answers with: something for each of its rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowOutcome {
    /// It is there now.
    Imported,
    /// It is there now, in the place of a row or record that said something else.
    Replaced,
    /// It was there before.
    ThereAlready,
    /// It waits for a person.
    Conflict,
    /// It can't be taken.
    Error,
    /// It could have been, but for others: all or nothing was asked for.
    LeftOut,
}

/// A row, and what became of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RowTold {
    /// The line on which it begins.
    pub line: u64,
    /// What it is about: a record or a rack.
    pub id: Option<String>,
    /// What became of it.
    pub outcome: RowOutcome,
    /// Why it was not taken: a stable name.
    pub error_type: Option<String>,
    /// Why, in words.
    pub message: Option<String>,
}

impl RowTold {
    /// A row of which there is nothing else to say.
    #[must_use]
    pub fn of(outcome: RowOutcome) -> Self {
        Self { line: 0, id: None, outcome, error_type: None, message: None }
    }

    /// A row that can't be taken.
    #[must_use]
    pub fn error(error_type: &str, message: String) -> Self {
        let (error_type, message) = (Some(error_type.to_owned()), Some(message));
        Self { error_type, message, ..Self::of(RowOutcome::Error) }
    }
}

/// What an import came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Imported {
    /// Whether anything was written: not if all or nothing was asked for, and all could not be.
    pub written: bool,
    /// Rows.
    pub total_rows: usize,
    /// Rows that are there now, be it that they were before.
    pub imported: usize,
    /// Rows that wait for a person.
    pub conflicts: usize,
    /// Rows that can't be taken.
    pub errors: usize,
    /// Each row, in the file's order.
    pub rows: Vec<RowTold>,
}

impl Imported {
    /// Counts the rows.
    #[must_use]
    pub fn of(written: bool, rows: Vec<RowTold>) -> Self {
        let count =
            |outcomes: &[RowOutcome]| rows.iter().filter(|row| outcomes.contains(&row.outcome)).count();
        Self {
            written,
            total_rows: rows.len(),
            imported: count(&[RowOutcome::Imported, RowOutcome::Replaced, RowOutcome::ThereAlready]),
            conflicts: count(&[RowOutcome::Conflict]),
            errors: count(&[RowOutcome::Error]),
            rows,
        }
    }
}

/// Where a part of a file begins: the line of its first row, for files that are sent in parts, each under the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline, with = "u64", extend("minimum" = 2, "maximum" = 1_000_000_000, "default" = 2))]
pub struct Part(u64);

impl Default for Part {
    fn default() -> Self {
        Self(2)
    }
}

impl TryFrom<String> for Part {
    type Error = &'static str;

    fn try_from(line: String) -> Result<Self, Self::Error> {
        let line = line.parse().ok().filter(|line| (2..=1_000_000_000).contains(line));
        line.map(Self).ok_or("must be a whole number from 2 to 1000000000")
    }
}

impl Part {
    /// The line.
    #[must_use]
    pub fn line(self) -> u64 {
        self.0
    }

    /// The line of the file, for a line of this part.
    #[must_use]
    pub fn line_of(self, line: u64) -> u64 {
        self.0 + line.saturating_sub(2)
    }
}
