//! Reading the service's books: balances, movement histories, its own audit.

use std::cell::Cell;

use anyhow::{Context, ensure};
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{AuditReport, Inventory, Movement, Page};
use crate::connection::{Call, Caller};

/// The page size asked for, and the one that is always allowed.
const LONG_PAGE: u32 = 1_000;
const SHORT_PAGE: u32 = 200;
/// A user's orders or holds on one page.
const USERS_PAGE: u32 = 100;

/// The page size in use: long until the service refuses it once.
#[derive(Debug)]
pub struct PageSize(Cell<u32>);

impl Default for PageSize {
    fn default() -> Self {
        Self(Cell::new(LONG_PAGE))
    }
}

/// What there is of one item.
pub async fn level(caller: &mut Caller, variant: Uuid, position: usize) -> anyhow::Result<Inventory> {
    caller.read(&format!("/api/v1/inventory/{variant}"), position).await?.json()
}

/// All that a list has of one user: `/api/v1/orders`, `/api/v1/holds`.
pub async fn of_user<T: DeserializeOwned>(
    caller: &mut Caller,
    list: &str,
    user_id: &str,
    position: usize,
) -> anyhow::Result<Vec<T>> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{list}?user_id={}&limit={USERS_PAGE}{cursor}", query_value(user_id));
        let page: Page<T> = caller.read(&path, position).await?.json()?;
        ensure!(page.next_cursor.is_none() || !page.items.is_empty(), "{path} is empty and goes on");
        found.extend(page.items);
        let Some(next) = page.next_cursor else {
            return Ok(found);
        };
        cursor = format!("&cursor={}", query_value(&next));
    }
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
