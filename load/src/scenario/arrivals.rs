//! When buyers come: as soon as a client is free (closed loop), or when they are due (open loop). No more come after
//! the end, or once as many came as were asked for.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::measure::{Pacer, Rate, Schedule};

/// The buyers of a run, one after the other.
#[derive(Debug)]
pub struct Arrivals {
    end: Instant,
    most: u64,
    came: Cell<u64>,
    timetable: Option<Timetable>,
}

/// An open loop: who is due, whether or not anybody before was served.
#[derive(Debug)]
struct Timetable {
    schedule: Schedule,
    due: Arc<Semaphore>,
    _pacer: Pacer,
}

/// One who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub number: u64,
    /// Since when, in an open loop.
    pub due: Option<Instant>,
}

impl Arrivals {
    /// Buyers come from `began` for as long as `length`, and no more than `most`.
    pub fn new(
        began: Instant,
        length: Duration,
        most: Option<u64>,
        rate: Option<Rate>,
    ) -> anyhow::Result<Self> {
        let end = began + length;
        let mut most = most.unwrap_or(u64::MAX);
        let timetable = match rate {
            None => None,
            Some(rate) => {
                let schedule = Schedule::new(began, rate);
                most = most.min(schedule.due_by(end - Duration::from_nanos(1)));
                let due = Arc::new(Semaphore::new(0));
                let come = Arc::clone(&due);
                let pacer = Pacer::start(schedule, most, move |number| {
                    come.add_permits(usize::try_from(number).unwrap_or(usize::MAX));
                })?;
                Some(Timetable { schedule, due, _pacer: pacer })
            }
        };
        Ok(Self { end, most, came: Cell::new(0), timetable })
    }

    /// Whether buyers come as clients become free.
    pub fn is_closed_loop(&self) -> bool {
        self.timetable.is_none()
    }

    /// When the last may come.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// How many came.
    pub fn came(&self) -> u64 {
        self.came.get()
    }

    /// The next one; none after the last.
    pub async fn next(&self) -> Option<Arrival> {
        let number = self.came.get();
        if number >= self.most || Instant::now() >= self.end {
            return None;
        }
        let due = match &self.timetable {
            None => None,
            Some(timetable) => {
                let permit = timeout_at(self.end.into(), timetable.due.acquire()).await.ok()?.ok()?;
                permit.forget();
                Some(timetable.schedule.due(number))
            }
        };
        self.came.set(number + 1);
        Some(Arrival { number, due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn no_more_come_than_were_asked_for() -> anyhow::Result<()> {
        let arrivals = Arrivals::new(Instant::now(), HOUR, Some(2), None)?;
        for number in 0..2 {
            assert_eq!(arrivals.next().await, Some(Arrival { number, due: None }));
        }
        assert_eq!((arrivals.next().await, arrivals.came()), (None, 2));
        Ok(())
    }

    #[tokio::test]
    async fn in_an_open_loop_each_comes_when_it_is_due() -> anyhow::Result<()> {
        let began = Instant::now() - Duration::from_secs(1);
        let arrivals = Arrivals::new(began, HOUR, Some(3), Some("4".parse()?))?;
        for number in 0..3 {
            let due = began + Duration::from_millis(250) * u32::try_from(number)?;
            assert_eq!(arrivals.next().await, Some(Arrival { number, due: Some(due) }));
        }
        assert_eq!(arrivals.next().await, None);
        Ok(())
    }

    #[tokio::test]
    async fn nobody_comes_after_the_end() -> anyhow::Result<()> {
        let over = Arrivals::new(Instant::now() - 2 * HOUR, HOUR, None, None)?;
        assert_eq!(over.next().await, None);
        let slow = Arrivals::new(Instant::now(), Duration::from_millis(5), Some(9), Some("0.001".parse()?))?;
        assert_eq!(slow.next().await.map(|arrival| arrival.number), Some(0));
        assert_eq!(slow.next().await, None);
        Ok(())
    }
}
