//! Which events somebody is told of: those they may see, and of those the ones they ask for. Pure.

use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::model::{Event, EventKind};
use crate::http::auth::{Principal, Scope};

/// The most types that one reader may name.
const TYPES_MAX: usize = 64;

/// The types that somebody asks for: names such as `stock.changed`, or families such as `order.*`, with commas between
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline)]
pub struct Types(#[schemars(with = "String")] Vec<EventKind>);

impl TryFrom<String> for Types {
    type Error = String;

    fn try_from(list: String) -> Result<Self, String> {
        let names: Vec<_> = list.split(',').collect();
        if names.len() > TYPES_MAX {
            return Err(format!("must be at most {TYPES_MAX} types"));
        }
        let mut kinds = Vec::new();
        for name in names {
            let family = name.strip_suffix(".*");
            let before = kinds.len();
            let is_meant =
                |kind: &EventKind| family.map_or(kind.as_str() == name, |family| kind.family() == family);
            kinds.extend(EventKind::ALL.iter().copied().filter(is_meant));
            if kinds.len() == before {
                let all: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
                return Err(format!(
                    "must be types with commas between them, or families such as stock.*; there are {}",
                    all.join(", ")
                ));
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        Ok(Self(kinds))
    }
}

impl Types {
    /// The kinds that are meant.
    #[must_use]
    pub fn kinds(&self) -> &[EventKind] {
        &self.0
    }
}

/// Who may see events of a family; an operator may see all.
fn scopes_of(family: &str) -> &'static [Scope] {
    match family {
        "stock" => &[Scope::Storefront, Scope::Warehouse],
        "order" | "hold" => &[Scope::Storefront],
        "rack" | "session" | "count" => &[Scope::Warehouse],
        "invoice" => &[Scope::Finance],
        _ => &[],
    }
}

/// Whether events of this kind are for the user whose order or hold it is, and for nobody if it does not say whose. That
/// others name a user, who counts or who claimed a rack, hides them from nobody who may see their family.
fn is_private(kind: &str) -> bool {
    kind.split_once('.').is_some_and(|(family, _)| matches!(family, "order" | "hold"))
}

/// What one reader is told of.
#[derive(Debug, Clone)]
pub struct Choice {
    /// By name. None is all, also those that this version does not know.
    kinds: Option<Vec<&'static str>>,
    variant_id: Option<Uuid>,
    /// Whose orders and holds; none is everybody's.
    user_id: Option<String>,
}

impl Choice {
    /// What `principal` is told of that asks for `types` of what concerns `variant_id`.
    ///
    /// # Errors
    /// The first of the types that it may not see.
    pub fn of(
        principal: &Principal,
        types: Option<&Types>,
        variant_id: Option<Uuid>,
    ) -> Result<Self, EventKind> {
        let sees_all = principal.may(&[]);
        let may = |kind: &EventKind| principal.may(scopes_of(kind.family()));
        let asked = types.map(Types::kinds);
        if let Some(hidden) = asked.into_iter().flatten().find(|kind| !may(kind)) {
            return Err(*hidden);
        }
        let kinds = match asked {
            None if sees_all => None,
            asked => Some(asked.unwrap_or(EventKind::ALL).iter().filter(|kind| may(kind))),
        };
        Ok(Self {
            kinds: kinds.map(|kinds| kinds.map(|kind| kind.as_str()).collect()),
            variant_id,
            user_id: (!sees_all).then(|| principal.subject.clone()),
        })
    }

    /// Whether this event is told.
    #[must_use]
    pub fn includes(&self, event: &Event) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| *kind == event.kind))
            && self.variant_id.is_none_or(|variant_id| event.subject.concerns(variant_id))
            && (self.user_id.is_none() || !is_private(&event.kind) || self.user_id == event.subject.user_id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Subject;
    use super::*;

    fn event(kind: EventKind, subject: Subject) -> Event {
        let event_id = Uuid::nil();
        Event {
            position: 1,
            event_id,
            kind: kind.as_str().into(),
            data: String::new(),
            subject,
            about: None,
            traceparent: None,
        }
    }

    fn principal(scopes: &[Scope]) -> Principal {
        Principal { subject: "ann".to_owned(), scopes: scopes.to_vec() }
    }

    fn types(list: &str) -> Result<Types, String> {
        Types::try_from(list.to_owned())
    }

    #[test]
    fn types_are_names_and_families_and_nothing_else() {
        let kinds = types("stock.*,order.placed,stock.low").unwrap();
        assert_eq!(kinds.kinds(), [EventKind::StockChanged, EventKind::StockLow, EventKind::OrderPlaced]);
        for bad in ["", "stock", "stock.changed,", "*", "Stock.changed", "order.shipped", " stock.low"] {
            assert!(types(bad).unwrap_err().contains("stock.changed"), "{bad}");
        }
        assert!(types(&["stock.low"; 65].join(",")).is_err());
    }

    #[test]
    fn a_storefront_sees_stock_and_the_orders_of_its_own_user() {
        let own = |user: &str| Subject::of_order(user.to_owned(), [Uuid::nil()].into_iter());
        let storefront = Choice::of(&principal(&[Scope::Storefront]), None, None).unwrap();
        assert!(storefront.includes(&event(EventKind::StockChanged, Subject::of_variant(Uuid::nil()))));
        assert!(storefront.includes(&event(EventKind::OrderPlaced, own("ann"))));
        assert!(!storefront.includes(&event(EventKind::OrderPlaced, own("bob"))));
        assert!(!storefront.includes(&event(EventKind::RackClaimed, Subject::default())));
        let operator = Choice::of(&principal(&[Scope::Operator]), None, None).unwrap();
        assert!(operator.includes(&event(EventKind::OrderPlaced, own("bob"))));
        let asked = types("rack.*").unwrap();
        assert_eq!(
            Choice::of(&principal(&[Scope::Storefront]), Some(&asked), None).unwrap_err(),
            EventKind::RackRegistered
        );
        assert!(Choice::of(&principal(&[Scope::Warehouse]), Some(&asked), None).is_ok());
    }

    #[test]
    fn a_warehouse_sees_what_others_count_and_a_storefront_nothing_of_which_it_is_not_said_whose_it_is() {
        let of_bob = Subject::of(r#"{"user_id": "bob"}"#);
        let warehouse = Choice::of(&principal(&[Scope::Warehouse]), None, None).unwrap();
        for kind in [EventKind::RackClaimed, EventKind::SessionStarted, EventKind::CountPosted] {
            assert!(warehouse.includes(&event(kind, of_bob.clone())), "{kind:?}");
        }
        let storefront = Choice::of(&principal(&[Scope::Storefront]), None, None).unwrap();
        for kind in [EventKind::OrderCancelled, EventKind::HoldReleased] {
            assert!(!storefront.includes(&event(kind, of_bob.clone())), "{kind:?}");
            assert!(!storefront.includes(&event(kind, Subject::default())), "{kind:?}");
        }
    }

    #[test]
    fn only_what_concerns_the_variant_is_told_to_whoever_asks_for_one() {
        let choice = Choice::of(&principal(&[Scope::Operator]), None, Some(Uuid::from_u128(1))).unwrap();
        let of = |id| event(EventKind::StockChanged, Subject::of_variant(Uuid::from_u128(id)));
        assert!(choice.includes(&of(1)) && !choice.includes(&of(2)));
        assert!(!choice.includes(&event(EventKind::LockModeChanged, Subject::default())));
    }
}
