//! What lies where, at the beginning.

use crate::chance::Chance;

/// Some units of an item in a rack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub item: usize,
    /// Units there, damaged ones among them.
    pub units: i64,
    pub damaged: i64,
}

/// One in so many positions holds an item that lies in another rack too.
const SHARED: usize = 10;
/// How many units there are at least, and how many more there may be: more than is ever sold.
const UNITS: (i64, usize) = (40, 60);
/// By how many units the books may be wrong, up or down.
const BOOKS_WRONG: i64 = 10;

/// Fills racks. Gives what is in each, and how many items there are.
pub fn fill(racks: usize, positions: usize, chance: &mut Chance) -> (Vec<Vec<Position>>, usize) {
    let shared = if positions > 1 { positions.div_ceil(SHARED) } else { 0 };
    let (mut all, mut items): (Vec<Vec<Position>>, usize) = (Vec::with_capacity(racks), 0);
    for rack in 0..racks {
        // The rack before every other one holds the rest of some items.
        let before = rack.checked_sub(1).filter(|_| rack % 2 == 1).map(|before| &all[before]);
        let beside: Vec<_> = before.into_iter().flatten().take(shared).map(|other| other.item).collect();
        let mut there = Vec::with_capacity(positions);
        for place in 0..positions {
            let item = beside.get(place).copied().unwrap_or_else(|| {
                items += 1;
                items - 1
            });
            let units = UNITS.0 + chance.below(UNITS.1) as i64;
            let damaged = if chance.below(4) == 0 { chance.below(4) as i64 } else { 0 };
            there.push(Position { item, units, damaged });
        }
        all.push(there);
    }
    (all, items)
}

/// What the books say of an item of which so many are there that can be sold.
pub fn booked(there: i64, chance: &mut Chance) -> i64 {
    there - BOOKS_WRONG + chance.below(2 * BOOKS_WRONG as usize + 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_lies_in_one_rack_or_in_two() {
        let (racks, items) = fill(7, 12, &mut Chance::seeded(1));
        let mut places = vec![Vec::new(); items];
        for (rack, there) in racks.iter().enumerate() {
            assert_eq!(there.len(), 12);
            there.iter().for_each(|position| places[position.item].push(rack));
        }
        assert!(places.iter().all(|racks| matches!(racks.as_slice(), [_] | [_, _])));
        // Two of each of the three pairs.
        assert_eq!(places.iter().filter(|racks| racks.len() == 2).count(), 6);
        assert!(places.iter().all(|racks| racks.len() == 1 || racks[0] + 1 == racks[1]));
    }
}
