//! One item's history as a chain: versions without a gap from 1 on, each movement beginning where the one
//! before it ended. It is read newest first, page by page.

use uuid::Uuid;

use crate::service::Movement;

/// A history being walked from its newest movement to its oldest.
#[derive(Debug)]
pub struct Chain {
    variant_id: Uuid,
    length: u64,
    sum: i64,
    newest: Option<Movement>,
    oldest: Option<Movement>,
    faults: Vec<String>,
}

/// A torn chain is torn in many places; the first few say enough.
const FAULTS_KEPT: usize = 5;

impl Chain {
    /// An empty chain of one item.
    pub fn new(variant_id: Uuid) -> Self {
        Self { variant_id, length: 0, sum: 0, newest: None, oldest: None, faults: Vec::new() }
    }

    /// Hangs the next page on, its movements older than all before.
    pub fn older(&mut self, movements: &[Movement]) {
        for movement in movements {
            self.hang(movement);
        }
    }

    /// Says that no older movement exists.
    pub fn finish(&mut self) {
        let Some(oldest) = &self.oldest else {
            return;
        };
        let (version, before) = (oldest.version, oldest.previous_quantity);
        if version != 1 {
            self.fault(format!("the oldest movement is version {version}, not 1"));
        }
        if before != 0 {
            self.fault(format!("the oldest movement begins at {before}, not 0"));
        }
    }

    /// How many movements there are.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What the movements add up to.
    pub fn sum(&self) -> i64 {
        self.sum
    }

    /// What the newest movement left.
    pub fn newest_quantity(&self) -> Option<i64> {
        self.newest.as_ref().map(|movement| movement.new_quantity)
    }

    /// What the oldest movement changed.
    pub fn oldest_delta(&self) -> Option<i64> {
        self.oldest.as_ref().map(|movement| movement.delta)
    }

    /// Where the chain is torn.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn hang(&mut self, movement: &Movement) {
        let version = movement.version;
        if movement.variant_id != self.variant_id {
            self.fault(format!("movement {version} is of another item, {}", movement.variant_id));
        }
        if movement.previous_quantity + movement.delta != movement.new_quantity {
            self.fault(format!(
                "movement {version} says {} {:+} = {}",
                movement.previous_quantity, movement.delta, movement.new_quantity
            ));
        }
        if movement.new_quantity < 0 {
            self.fault(format!("movement {version} left {}", movement.new_quantity));
        }
        if let Some(newer) = self.oldest.take() {
            if newer.version != version + 1 {
                self.fault(format!("movement {} is followed by {}", version, newer.version));
            }
            if newer.previous_quantity != movement.new_quantity {
                self.fault(format!(
                    "movement {version} left {}, movement {} began at {}",
                    movement.new_quantity, newer.version, newer.previous_quantity
                ));
            }
        }
        self.length += 1;
        self.sum += movement.delta;
        self.newest.get_or_insert_with(|| movement.clone());
        self.oldest = Some(movement.clone());
    }

    fn fault(&mut self, words: String) {
        if self.faults.len() < FAULTS_KEPT {
            self.faults.push(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::MovementKind;

    fn movement(version: i64, previous_quantity: i64, delta: i64) -> Movement {
        let new_quantity = previous_quantity + delta;
        Movement {
            variant_id: Uuid::nil(),
            version,
            kind: MovementKind::Adjustment,
            reference: None,
            delta,
            previous_quantity,
            new_quantity,
        }
    }

    fn walked(pages: &[&[Movement]]) -> Chain {
        let mut chain = Chain::new(Uuid::nil());
        pages.iter().for_each(|page| chain.older(page));
        chain.finish();
        chain
    }

    #[test]
    fn a_whole_chain_has_no_faults_whatever_its_pages() {
        let all = [movement(3, 7, 1), movement(2, 10, -3), movement(1, 0, 10)];
        for chain in [walked(&[&all]), walked(&[&all[..1], &all[1..]]), walked(&[&all, &[]])] {
            assert!(chain.faults().is_empty(), "{:?}", chain.faults());
            assert_eq!((chain.length(), chain.sum()), (3, 8));
            assert_eq!((chain.newest_quantity(), chain.oldest_delta()), (Some(8), Some(10)));
        }
        assert!(walked(&[]).faults().is_empty());
    }

    #[test]
    fn a_missing_movement_tears_the_chain_also_between_pages() {
        let (newest, oldest) = (movement(3, 7, 1), movement(1, 0, 10));
        let faults = ["movement 1 is followed by 3", "movement 1 left 10, movement 3 began at 7"];
        assert_eq!(walked(&[&[newest.clone(), oldest.clone()]]).faults(), faults);
        assert_eq!(walked(&[&[newest], &[oldest]]).faults(), faults);
    }

    #[test]
    fn a_movement_told_twice_tears_the_chain() {
        let chain = walked(&[&[movement(2, 10, -3), movement(2, 10, -3), movement(1, 0, 10)]]);
        assert_eq!(chain.faults()[0], "movement 2 is followed by 2");
    }

    #[test]
    fn the_beginning_must_be_version_1_and_nothing() {
        let chain = walked(&[&[movement(2, 4, 1)]]);
        assert_eq!(
            chain.faults(),
            ["the oldest movement is version 2, not 1", "the oldest movement begins at 4, not 0"]
        );
    }

    #[test]
    fn a_movement_must_add_up_and_stay_above_zero() {
        let mut wrong = movement(1, 0, 5);
        wrong.new_quantity = 4;
        assert_eq!(walked(&[&[wrong]]).faults(), ["movement 1 says 0 +5 = 4"]);
        assert_eq!(walked(&[&[movement(1, 0, -1)]]).faults(), ["movement 1 left -1"]);
    }
}
