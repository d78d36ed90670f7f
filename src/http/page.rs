//! Lists: bounded pages, each with the cursor of the next.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The most items a page may have.
pub const LIMIT_MAX: u16 = 1_000;
const LIMIT_DEFAULT: u16 = 50;

/// How many items a page has at most: 1 to 1,000, by default 50.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(u16);

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer", "description": "How many items a page has at most.",
            "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT,
        })
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT_DEFAULT)
    }
}

impl TryFrom<String> for Limit {
    type Error = &'static str;

    fn try_from(items: String) -> Result<Self, Self::Error> {
        let items = items.parse().ok().filter(|items| (1..=LIMIT_MAX).contains(items));
        items.map(Self).ok_or("must be a whole number from 1 to 1000")
    }
}

impl Limit {
    /// As many as a page may have.
    pub const MOST: Self = Self(LIMIT_MAX);

    /// This limit, or a lower one.
    #[must_use]
    pub fn at_most(self, items: u16) -> Self {
        Self(self.0.min(items))
    }

    /// One more than fits the page: whether it comes back tells whether there is a next page.
    #[must_use]
    pub fn and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl From<Limit> for usize {
    fn from(limit: Limit) -> Self {
        Self::from(limit.0)
    }
}

/// The most lines on a page of things that have lines, but for one that has more by itself.
const PAGE_LINES_MAX: i64 = 10_000;

/// Leaves of what was found, asked for with [`Limit::and_one`] and of so many lines each, what goes on one page: at least one,
/// if there is one. True if there is more.
pub fn cut_to_a_page<T>(found: &mut Vec<T>, lines: &[i64], limit: Limit) -> bool {
    let fitting = fit_a_page(lines).min(limit.into());
    let more = found.len() > fitting;
    found.truncate(fitting);
    more
}

fn fit_a_page(lines: &[i64]) -> usize {
    let mut room = PAGE_LINES_MAX;
    let fits = |(place, lines): &(usize, &i64)| {
        room = room.saturating_sub(**lines);
        *place == 0 || room >= 0
    };
    lines.iter().enumerate().take_while(fits).count()
}

/// Some items, and where to go on.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give this as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of up to `limit` of the items found, which were asked for with [`Limit::and_one`].
    pub fn of(mut found: Vec<T>, limit: Limit, cursor: impl Fn(&T) -> String) -> Self {
        let more = found.len() > usize::from(limit.0);
        found.truncate(usize::from(limit.0));
        let next_cursor = found.last().filter(|_| more).map(cursor);
        Self { items: found, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_things_as_it_has_room_for_their_lines_and_at_least_one() {
        assert_eq!(fit_a_page(&[]), 0);
        assert_eq!(fit_a_page(&[3; 101]), 101);
        assert_eq!(fit_a_page(&[2_000; 6]), 5);
        assert_eq!(fit_a_page(&[9_999, 1, 1]), 2);
        assert_eq!(fit_a_page(&[10_001, 1]), 1);
    }
}
