//! Adds a variant to the catalogue, with its opening stock as its first movement.
//! Refuses if another variant has the SKU.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::StockError;
use super::ledger::Ledger;
use super::model::{Occasion, OnHand, Variant, Witness};
use super::rules::Change;
use super::store::{self, NewVariant};
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::idempotency::Claim;
use crate::ids;
use crate::locks::LockKeys;
use crate::money::{Amount, Currency};
use crate::section::{Section, Verb};
use crate::text::{Name, Reason, Sku};

/// `POST /variants`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CreateVariant {
    /// Unique among all variants.
    pub sku: Sku,
    /// What people call it.
    pub name: Name,
    /// The price of one.
    pub price: Amount,
    /// The price's currency.
    pub currency: Currency,
    /// Units there are to begin with.
    #[serde(default)]
    pub on_hand: OnHand,
}

/// # Errors
/// [`StockError`].
pub async fn create_variant(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<CreateVariant>,
) -> Result<Answer, StockError> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    create(&app, &caller, &body.value, claim.as_ref()).await
}

/// Makes the variant under the lease of its id, which nobody else knows yet: its opening movement is
/// written, and says how it was guarded, as every other is.
///
/// # Errors
/// [`StockError`], but for refusals by the business, which are answers.
pub async fn create(
    app: &App,
    caller: &Caller,
    cmd: &CreateVariant,
    claim: Option<&Claim>,
) -> Result<Answer, StockError> {
    let section = Section { app, caller, claim, success: StatusCode::CREATED };
    let creation = Creation { variant_id: ids::fresh(), cmd };
    section.run(&LockKeys::variant(creation.variant_id), &creation).await
}

struct Creation<'a> {
    variant_id: Uuid,
    cmd: &'a CreateVariant,
}

impl Verb for Creation<'_> {
    type Done = Variant;
    type Error = StockError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Variant, StockError> {
        create_in_tx(conn, self.cmd, self.variant_id, witness).await
    }
}

/// Inserts the variant and its level, and posts the opening stock.
///
/// # Errors
/// [`StockError::SkuTaken`] before anything was written, or a database error.
pub async fn create_in_tx(
    conn: &mut PgConnection,
    cmd: &CreateVariant,
    variant_id: Uuid,
    witness: Witness<'_>,
) -> Result<Variant, StockError> {
    let new = NewVariant {
        variant_id,
        sku: cmd.sku.as_str(),
        name: cmd.name.as_str(),
        price: cmd.price.get(),
        currency: cmd.currency,
    };
    if !store::insert_variant_in_tx(conn, &new).await? {
        return Err(StockError::SkuTaken);
    }
    if cmd.on_hand.get() > 0 {
        let mut ledger = Ledger::lock_in_tx(conn, &[variant_id]).await?;
        let occasion =
            Occasion { reason: Reason::try_from("opening stock".to_owned()).ok(), ..Occasion::default() };
        ledger.decide(variant_id, Change::Open(cmd.on_hand), occasion, witness)?;
        ledger.write_in_tx(conn).await?;
    }
    Ok(Variant {
        variant_id,
        sku: cmd.sku.as_str().to_owned(),
        name: cmd.name.as_str().to_owned(),
        price: cmd.currency.written(cmd.price.get()),
        currency: cmd.currency,
        on_hand: cmd.on_hand.get(),
    })
}
