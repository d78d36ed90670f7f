//! Opening the catalogue a run works on: one variant per item, with its opening stock.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{bail, ensure};
use hyper::StatusCode;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::VariantAnswer;
use super::model::VariantBody;
use crate::connection::{Call, Caller, spread_over};
use crate::progress::Progress;

/// The one currency of a run.
pub const CURRENCY: &str = "GBP";

/// A variant to be made.
#[derive(Clone, Debug)]
pub struct NewVariant {
    pub sku: String,
    pub name: String,
    pub price: Decimal,
    pub on_hand: i64,
}

/// Makes every variant and returns their ids in the same order.
///
/// A replayed answer stops the run: it means that the run's name has been used on this database before,
/// so the stock behind it is not the opening stock.
pub async fn create(
    callers: Vec<Caller>,
    variants: Rc<Vec<NewVariant>>,
    run: &str,
) -> anyhow::Result<Vec<Uuid>> {
    let total = variants.len();
    let ids = Rc::new(RefCell::new(vec![Uuid::nil(); total]));
    let progress = Progress::start("opening the catalogue", total);
    let (made, run) = (Rc::clone(&ids), run.to_owned());
    spread_over(callers, total, async move |caller, position| {
        let id =
            create_one(caller, &variants[position], &format!("{run}-variant-{position}"), position).await?;
        made.borrow_mut()[position] = id;
        progress.step();
        Ok(())
    })
    .await?;
    Ok(ids.take())
}

async fn create_one(
    caller: &mut Caller,
    variant: &NewVariant,
    key: &str,
    position: usize,
) -> anyhow::Result<Uuid> {
    let body = VariantBody {
        sku: &variant.sku,
        name: &variant.name,
        price: variant.price,
        currency: CURRENCY,
        on_hand: variant.on_hand,
    };
    let call = Call::post("/api/v1/variants", key, &body)?;
    let settled = caller.insist(&call, position).await;
    let doubted = settled.had_doubt();
    let answer = settled.into_answer(&call)?;
    if answer.status != StatusCode::CREATED {
        bail!("variant {:?} was refused with {}: {}", variant.sku, answer.phrase(), answer.excerpt());
    }
    ensure!(
        doubted || !answer.replayed,
        "variant {:?} is an old answer: this run's name was used on this database before; choose another --run",
        variant.sku
    );
    let made: VariantAnswer = answer.json()?;
    ensure!(
        made.sku == variant.sku && made.price == variant.price && made.on_hand == variant.on_hand,
        "variant {:?} came back changed: {}",
        variant.sku,
        answer.excerpt()
    );
    Ok(made.variant_id)
}
