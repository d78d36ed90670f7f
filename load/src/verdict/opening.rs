//! The catalogue as it was opened: what the service calls each item, and what was there at the start.

use std::collections::HashMap;

use rust_decimal::Decimal;
use uuid::Uuid;

use crate::service::NewVariant;

/// One item on its shelf.
#[derive(Clone, Debug)]
pub struct ShelfItem {
    pub variant_id: Uuid,
    pub sku: String,
    pub price: Decimal,
    pub on_hand: i64,
}

/// All items of a run, by place and by id.
#[derive(Debug)]
pub struct Opening {
    items: Vec<ShelfItem>,
    places: HashMap<Uuid, usize>,
}

impl Opening {
    /// The opening stock of `items`, whose places are their positions.
    pub fn new(items: Vec<ShelfItem>) -> Self {
        let places = items.iter().enumerate().map(|(place, item)| (item.variant_id, place)).collect();
        Self { items, places }
    }

    /// The opening stock of variants that were made, by the ids they got.
    pub fn of(ids: Vec<Uuid>, variants: &[NewVariant]) -> Self {
        let shelf = |(variant_id, variant): (Uuid, &NewVariant)| ShelfItem {
            variant_id,
            sku: variant.sku.clone(),
            price: variant.price,
            on_hand: variant.on_hand,
        };
        Self::new(ids.into_iter().zip(variants).map(shelf).collect())
    }

    /// Every item, in the order of their places.
    pub fn items(&self) -> &[ShelfItem] {
        &self.items
    }

    /// The item at a place of the plan.
    pub fn item(&self, place: usize) -> &ShelfItem {
        &self.items[place]
    }

    /// Where an id stands in the plan, if it is of this run.
    pub fn place(&self, variant_id: Uuid) -> Option<usize> {
        self.places.get(&variant_id).copied()
    }
}
