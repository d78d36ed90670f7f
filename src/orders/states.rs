//! How far an order may go from where it is, and at whose word. Pure: one table, and everything that changes an
//! order's status asks it. A status that is to come (paid, shipped) is a value of [`OrderStatus`] and some rows here.

use super::model::OrderStatus::{self, Cancelled, PartlyCancelled, Placed};
use super::rules::Refusal;

/// Who turns an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A caller with a key.
    Api,
    /// A signed webhook.
    Webhook,
}
use Actor::{Api, Webhook};

/// From (`None`: before it was placed), to, and who may.
const TURNS: [(Option<OrderStatus>, OrderStatus, &[Actor]); 6] = [
    (None, Placed, &[Api]),
    // Its cancellation came before it did.
    (None, Cancelled, &[Webhook]),
    (Some(Placed), PartlyCancelled, &[Api, Webhook]),
    (Some(Placed), Cancelled, &[Api, Webhook]),
    (Some(PartlyCancelled), PartlyCancelled, &[Api, Webhook]),
    (Some(PartlyCancelled), Cancelled, &[Api, Webhook]),
];

/// Turns an order to another status.
///
/// # Errors
/// [`Refusal::NoSuchTurn`] if `by` may not take it from where it is to there.
pub fn turn(from: Option<OrderStatus>, to: OrderStatus, by: Actor) -> Result<OrderStatus, Refusal> {
    let allowed = TURNS.iter().any(|turn| turn.0 == from && turn.1 == to && turn.2.contains(&by));
    if allowed { Ok(to) } else { Err(Refusal::NoSuchTurn { from, to }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every status before, every status after, and whether the API and a webhook may do that.
    #[test]
    fn an_order_goes_only_where_the_table_says_and_never_back() {
        let may = |from, to| (turn(from, to, Api).is_ok(), turn(from, to, Webhook).is_ok());
        let before = [None, Some(Placed), Some(PartlyCancelled), Some(Cancelled)];
        let after = [Placed, PartlyCancelled, Cancelled];
        assert_eq!(after, OrderStatus::ALL);
        let (nobody, both) = ((false, false), (true, true));
        assert_eq!(
            before.map(|from| after.map(|to| may(from, to))),
            [
                [(true, false), nobody, (false, true)],
                [nobody, both, both],
                [nobody, both, both],
                [nobody, nobody, nobody],
            ]
        );
        assert_eq!(turn(Some(Placed), Cancelled, Webhook), Ok(Cancelled));
    }
}
