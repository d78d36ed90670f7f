//! Who gets a lease, and whose claim still stands: decided on a row that is locked.

use super::claim::Again;
use super::model::{Ending, Fence, LeaseError};

/// A lease's newest claim, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its fence; 0 if the name was never claimed.
    pub fence: Fence,
    /// Its owner.
    pub owner: String,
    /// What is left of it in milliseconds, rounded up; not positive if it has lapsed.
    pub left_ms: i64,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
}

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is granted, with a new fence.
    Grant {
        /// Whether the claim before it had lapsed without an end.
        took_over: bool,
    },
    /// It is the owner's own: renewed, with the fence it has.
    Keep,
    /// Somebody holds it.
    Refuse,
}

/// Decides on a claim by `owner`.
#[must_use]
pub fn decide(newest: &Newest, owner: &str, again: Again) -> Decision {
    let is_new = newest.fence == Fence(0);
    if is_new || newest.ending.is_some() {
        Decision::Grant { took_over: false }
    } else if newest.left_ms <= 0 {
        Decision::Grant { took_over: true }
    } else if again == Again::SameClaim && newest.owner == owner {
        Decision::Keep
    } else {
        Decision::Refuse
    }
}

/// Whether the claim of `fence` stands. A claim that lapsed and was not followed does.
///
/// # Errors
/// Why it does not.
pub fn stands(newest: Option<(Fence, Option<Ending>)>, fence: Fence) -> Result<(), LeaseError> {
    match newest {
        Some((newest, _)) if newest > fence => Err(LeaseError::Superseded { newest }),
        Some((newest, Some(ending))) if newest == fence => Err(LeaseError::Ended(ending)),
        Some((newest, None)) if newest == fence => Ok(()),
        _ => Err(LeaseError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: i64 = 1;

    fn newest(fence: i64, left_ms: i64, ending: Option<Ending>) -> Newest {
        Newest { fence: Fence(fence), owner: "ann".into(), left_ms, ending }
    }

    #[test]
    fn a_lease_is_had_by_whoever_comes_when_nobody_holds_it() {
        use Again::{Refused, SameClaim};
        for (found, owner, again, decision) in [
            (newest(0, LIVE, None), "bob", SameClaim, Decision::Grant { took_over: false }),
            (newest(7, LIVE, Some(Ending::ByHand)), "ann", SameClaim, Decision::Grant { took_over: false }),
            (newest(7, 0, Some(Ending::Released)), "bob", SameClaim, Decision::Grant { took_over: false }),
            (newest(7, 0, None), "bob", SameClaim, Decision::Grant { took_over: true }),
            (newest(7, -1, None), "ann", SameClaim, Decision::Grant { took_over: true }),
            (newest(7, LIVE, None), "bob", SameClaim, Decision::Refuse),
            (newest(7, LIVE, None), "ann", SameClaim, Decision::Keep),
            (newest(7, LIVE, None), "ann", Refused, Decision::Refuse),
        ] {
            assert_eq!(decide(&found, owner, again), decision, "{found:?} {owner} {again:?}");
        }
    }

    #[test]
    fn a_claim_stands_while_it_is_the_newest_and_has_not_ended() {
        let fence = Fence(7);
        assert!(stands(Some((fence, None)), fence).is_ok());
        assert!(matches!(stands(None, fence), Err(LeaseError::NotFound)));
        assert!(matches!(stands(Some((Fence(6), None)), fence), Err(LeaseError::NotFound)));
        let newer = [Some((Fence(8), None)), Some((Fence(8), Some(Ending::Released)))];
        for newer in newer {
            assert!(matches!(stands(newer, fence), Err(LeaseError::Superseded { newest: Fence(8) })));
        }
        let ended = stands(Some((fence, Some(Ending::Finished))), fence);
        assert!(matches!(ended, Err(LeaseError::Ended(Ending::Finished))));
    }
}
