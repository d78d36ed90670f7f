//! The part of Holdfast's API that the load generator uses: its shapes, its catalogue, its books.

mod books;
mod catalogue;
mod model;

pub use books::{PageSize, audit, on_hand, walk_movements};
pub use catalogue::{CURRENCY, NewVariant, create};
pub use model::{
    AuditReport, CancelBody, CancelLine, Inventory, Movement, OrderAnswer, OrderBody, OrderLineAnswer,
    OrderLineBody, Page, Shortages, StockBody, VariantAnswer,
};
