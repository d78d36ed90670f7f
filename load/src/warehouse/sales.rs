//! The shop, which goes on selling.

use std::time::Duration;

use anyhow::ensure;
use hyper::StatusCode;
use tokio::time::sleep;

use super::run::Town;
use crate::chance::Chance;
use crate::connection::{Call, Caller};
use crate::service::StockBody;

/// Between two sales of one seller, at most.
const PAUSE_MS: usize = 20;

/// Sells single units until the count is over.
pub async fn sell(town: &Town, number: usize, mut caller: Caller) -> anyhow::Result<()> {
    let mut chance = Chance::of(&format!("{} seller {number} {}", town.settings.run, town.settings.seed));
    let mut sold = 0;
    while !town.is_over.get() {
        sleep(Duration::from_millis(chance.below(PAUSE_MS) as u64)).await;
        let Some((item, _alone)) = town.shelves.for_sale(&mut chance) else { continue };
        let variant_id = town.shelves.items[item].variant_id;
        let key = format!("{}-sale-{number}-{sold}", town.settings.run);
        let body = StockBody { quantity: Some(1), reason: "sold", reference: &key, ..StockBody::default() };
        let call = Call::post(&format!("/api/v1/inventory/{variant_id}/decrement"), &key, &body)?;
        let answer = caller.insist(&call, number).await.into_answer(&call)?;
        ensure!(answer.status == StatusCode::OK, "{}: {}", call.title(), answer.excerpt());
        town.shelves.take(item, &mut chance);
        town.told.borrow_mut().sales += 1;
        sold += 1;
    }
    Ok(())
}
