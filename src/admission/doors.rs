//! Who would most likely be turned away is turned away at the door, before anything of the request is looked at.
//!
//! To turn somebody away takes time too, and whoever was turned away may be back at once: a crowd that is told so after its key
//! was looked up and its JSON read leaves little time for those who are served. So of a route that turns away
//! more than half of whom it lets in, fewer are let in, until it turns away half of those: there is still a choice among twice
//! as many as are served. The other way round the door opens, within a moment. Rates that fall by a part and recover by steps
//! are an old way to share what is scarce (Chiu and Jain, 1989); that servers should shed load before they spend work on it
//! is told in chapter 21 of Site Reliability Engineering (2016).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long it is watched what becomes of those who are let in, before fewer or more are.
const WATCHED: Duration = Duration::from_millis(50);
/// How many have to be turned away in that time before fewer are let in: not so many cost little.
const CROWD: u32 = 32;
/// What is left of the part that is let in where most are turned away, and what becomes of it elsewhere.
const FEWER: f64 = 0.7;
const MORE: f64 = 1.5;
/// The part that is let in at least.
const LEAST: f64 = 1.0 / 32.0;

/// The doors of all routes. One that all are let in by takes no room.
#[derive(Debug, Default)]
pub struct Doors(Mutex<HashMap<Box<str>, Door>>);

#[derive(Debug)]
struct Door {
    since: Instant,
    served: u32,
    turned_away: u32,
    /// The part of those who come that is let in.
    part: f64,
    /// The part of somebody who may be let in still.
    credit: f64,
}

impl Doors {
    /// Whether one more is let in at `route`.
    #[must_use]
    pub fn let_in(&self, route: &str) -> bool {
        let mut doors = self.state();
        let Some(door) = doors.get_mut(route) else { return true };
        door.turn();
        if door.is_open() && door.turned_away == 0 {
            doors.remove(route);
            return true;
        }
        door.credit += door.part;
        let is_let_in = door.credit >= 1.0;
        if is_let_in {
            door.credit -= 1.0;
        }
        is_let_in
    }

    /// What became of one that was let in.
    pub fn left(&self, route: &str, is_turned_away: bool) {
        let mut doors = self.state();
        match doors.get_mut(route) {
            Some(door) if is_turned_away => door.turned_away += 1,
            Some(door) => door.served += 1,
            None if is_turned_away => {
                doors.insert(route.into(), Door::with_one_turned_away());
            }
            None => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, HashMap<Box<str>, Door>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn with_one_turned_away() -> Self {
        Self { since: Instant::now(), served: 0, turned_away: 1, part: 1.0, credit: 1.0 }
    }

    fn is_open(&self) -> bool {
        self.part >= 1.0
    }

    /// Lets in fewer, or more, once it was watched for long enough.
    fn turn(&mut self) {
        let now = Instant::now();
        if now < self.since + WATCHED {
            return;
        }
        let are_most = self.turned_away > self.served && self.turned_away >= CROWD;
        // One at which nobody came for a while has nothing to do with what was.
        let is_old = now > self.since + 20 * WATCHED;
        self.part = match are_most {
            _ if is_old => 1.0,
            true => (self.part * FEWER).max(LEAST),
            false => (self.part * MORE).min(1.0),
        };
        (self.since, self.served, self.turned_away) = (now, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many a millisecond are let in during a second, of whom no more are served than that.
    async fn come(doors: &Doors, a_ms: u32, served_a_ms: u32) -> u32 {
        let mut let_in = 0;
        for _ in 0..1_000 {
            let mut served = 0;
            for _ in 0..a_ms {
                if doors.let_in("/sold") {
                    let_in += 1;
                    doors.left("/sold", served == served_a_ms);
                    served = (served + 1).min(served_a_ms);
                }
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let_in
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_let_in_unless_most_of_a_crowd_are_turned_away() {
        let doors = Doors::default();
        assert_eq!(come(&doors, 8, 8).await, 8_000);
        assert_eq!(come(&doors, 8, 6).await, 8_000, "a quarter is turned away");
        // A few, but all of them.
        for _ in 0..200 {
            assert!(doors.let_in("/events"));
            doors.left("/events", true);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_door_lets_in_about_twice_as_many_as_are_served_and_some_if_nobody_is() {
        let doors = Doors::default();
        come(&doors, 40, 2).await;
        let twice = come(&doors, 40, 2).await;
        assert!((2_500..6_000).contains(&twice), "{twice} of 40,000, and 2,000 could be served");
        come(&doors, 40, 0).await;
        let least = come(&doors, 40, 0).await;
        assert!((1_000..2_500).contains(&least), "{least} of 40,000, and none could be served");
    }

    #[tokio::test(start_paused = true)]
    async fn a_door_opens_in_a_moment_once_all_are_served_and_one_that_nobody_came_to_is_open() {
        let doors = Doors::default();
        come(&doors, 40, 0).await;
        let let_in = come(&doors, 40, 40).await;
        assert!(let_in > 20_000, "{let_in} of 40,000 in the first second after that");
        assert_eq!(come(&doors, 40, 40).await, 40_000);
        assert!(doors.state().is_empty());

        come(&doors, 40, 0).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(doors.let_in("/sold") && doors.let_in("/sold"));
    }
}
