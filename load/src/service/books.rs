//! Reading the service's books: balances, movement histories, its own audit.

use std::cell::Cell;

use anyhow::{Context, ensure};
use hyper::StatusCode;
use uuid::Uuid;

use super::{AuditReport, Inventory, Movement, Page};
use crate::connection::{Call, Caller};

/// The page size asked for, and the one that is always allowed.
const LONG_PAGE: u32 = 1_000;
const SHORT_PAGE: u32 = 200;

/// The page size in use: long until the service refuses it once.
#[derive(Debug)]
pub struct PageSize(Cell<u32>);

impl Default for PageSize {
    fn default() -> Self {
        Self(Cell::new(LONG_PAGE))
    }
}

/// The balance of one item.
pub async fn on_hand(caller: &mut Caller, variant: Uuid, position: usize) -> anyhow::Result<i64> {
    let answer = caller.read(&format!("/api/v1/inventory/{variant}"), position).await?;
    Ok(answer.json::<Inventory>()?.on_hand)
}

/// Walks one item's whole history, newest first, page by page.
pub async fn walk_movements(
    caller: &mut Caller,
    variant: Uuid,
    size: &PageSize,
    position: usize,
    mut visit: impl FnMut(&[Movement]),
) -> anyhow::Result<()> {
    let mut cursor: Option<String> = None;
    loop {
        let page = movements(caller, variant, size, cursor.as_deref(), position).await?;
        visit(&page.items);
        let Some(next) = page.next_cursor else {
            return Ok(());
        };
        // Either could be followed for ever.
        ensure!(!page.items.is_empty(), "an empty page of {variant}'s movements carries a next_cursor");
        ensure!(cursor.as_ref() != Some(&next), "the cursor of {variant}'s movements stands still");
        cursor = Some(next);
    }
}

async fn movements(
    caller: &mut Caller,
    variant: Uuid,
    size: &PageSize,
    cursor: Option<&str>,
    position: usize,
) -> anyhow::Result<Page<Movement>> {
    loop {
        let limit = size.0.get();
        let mut path = format!("/api/v1/inventory/{variant}/movements?limit={limit}");
        if let Some(cursor) = cursor {
            path.push_str("&cursor=");
            path.push_str(&query_value(cursor));
        }
        let call = Call::get(&path)?;
        let answer = caller.insist(&call, position).await.into_answer(&call)?;
        if answer.status == StatusCode::UNPROCESSABLE_ENTITY && limit == LONG_PAGE {
            size.0.set(SHORT_PAGE);
            continue;
        }
        ensure!(answer.status == StatusCode::OK, "{} answered {}", call.title(), answer.excerpt());
        return answer.json().with_context(|| call.title());
    }
}

/// The service's own audit.
pub async fn audit(caller: &mut Caller) -> anyhow::Result<AuditReport> {
    caller.read("/api/v1/inventory/audit", 0).await?.json()
}

/// Escapes a value for a query string: everything but the unreserved characters.
fn query_value(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_escaped() {
        assert_eq!(query_value("a1-._~"), "a1-._~");
        assert_eq!(query_value("a+b/c="), "a%2Bb%2Fc%3D");
    }
}
