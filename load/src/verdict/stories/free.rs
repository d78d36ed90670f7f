//! How many units of one item could have been left to take, at each moment: the most that the answers allow.
//!
//! What must stay true: whoever took something is counted from the moment it surely had it, and whoever gave something
//! back from the moment it was first asked for. So a number below nothing means that more was sold and held at once than
//! there was, in whatever order things happened.

use std::time::Instant;

/// One item's units through a run.
#[derive(Debug)]
pub struct Free {
    opening: i64,
    changes: Vec<(Instant, i64)>,
}

impl Free {
    /// All of them, at the beginning.
    pub fn of(opening: i64) -> Self {
        Self { opening, changes: Vec::new() }
    }

    /// Some are taken (below 0) or given back.
    pub fn change(&mut self, moment: Instant, delta: i64) {
        self.changes.push((moment, delta));
    }

    /// How many were taken beyond what there was, at the worst moment; none if there always was enough.
    pub fn taken_beyond(mut self) -> Option<i64> {
        // Of one moment, what is given comes first.
        self.changes.sort_unstable_by_key(|(moment, delta)| (*moment, -delta));
        let mut left = self.opening;
        let mut least = left;
        for (_, delta) in self.changes {
            left += delta;
            least = least.min(left);
        }
        (least < 0).then_some(-least)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn beyond(opening: i64, changes: &[(u64, i64)]) -> Option<i64> {
        let (began, mut free) = (Instant::now(), Free::of(opening));
        for (second, delta) in changes {
            free.change(began + Duration::from_secs(*second), *delta);
        }
        free.taken_beyond()
    }

    #[test]
    fn what_was_given_back_can_be_taken_again() {
        assert_eq!(beyond(3, &[]), None);
        assert_eq!(beyond(3, &[(1, -3), (2, 3), (3, -3)]), None);
        assert_eq!(beyond(3, &[(1, -3), (2, -2), (2, 2)]), None);
    }

    #[test]
    fn more_than_there_is_at_once_is_found_though_it_came_back_later() {
        assert_eq!(beyond(3, &[(1, -2), (2, -2), (3, 2), (4, 2)]), Some(1));
        assert_eq!(beyond(3, &[(3, 2), (2, -2), (1, -2)]), Some(1));
        assert_eq!(beyond(0, &[(1, -1)]), Some(1));
    }
}
