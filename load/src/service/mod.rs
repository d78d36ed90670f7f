//! The part of Holdfast's API that the load generator uses: its shapes, its catalogue, its books.

mod books;
mod catalogue;
mod model;
mod signer;

pub use books::{PageSize, audit, level, of_user, walk_movements};
pub use catalogue::{CURRENCY, NewVariant, create};
pub use model::{
    AuditReport, CancelBody, CancelLine, CaptureBody, EventBody, EventData, EventResult, HoldAnswer,
    HoldBody, HoldState, Inventory, Movement, MovementKind, NoFields, OrderAnswer, OrderBody,
    OrderLineAnswer, OrderLineBody, OrderStatus, Page, ReceiptAnswer, Shortages, StockBody, VariantAnswer,
};
pub use signer::Signer;
