//! An open loop's timetable: request number k is due at the start plus k divided by the rate, whatever
//! became of the requests before it.
//!
//! What must stay true: the timetable never looks at the clock or at an answer. A latency taken from the
//! due time therefore contains the wait behind slow requests that a closed loop would hide.

use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Requests per second, kept in thousandths so that all arithmetic is in whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    thousandths: u64,
}

const FASTEST_PER_SECOND: u64 = 1_000_000;
/// Nanoseconds in a second times thousandths in a whole.
const SCALE: u128 = 1_000_000_000_000;

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let rate: Decimal = text.parse().with_context(|| format!("{text:?} is not a number"))?;
        let thousandths = (rate * Decimal::ONE_THOUSAND).trunc().to_u64().context("a rate is above 0")?;
        ensure!(
            (1..=FASTEST_PER_SECOND * 1_000).contains(&thousandths),
            "a rate is between 0.001 and {FASTEST_PER_SECOND} a second"
        );
        Ok(Self { thousandths })
    }
}

impl Display for Rate {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        Decimal::new(i64::try_from(self.thousandths).unwrap_or(i64::MAX), 3).normalize().fmt(out)
    }
}

impl Rate {
    /// The rate nearest to so many a second, within what is possible.
    pub fn about(per_second: f64) -> Self {
        let most = FASTEST_PER_SECOND * 1_000;
        Self { thousandths: ((per_second * 1_000.0).max(1.0) as u64).min(most) }
    }
}

/// A rate with a beginning.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    rate: Rate,
}

impl Schedule {
    /// A timetable whose request 0 is due at `start`.
    pub fn new(start: Instant, rate: Rate) -> Self {
        Self { start, rate }
    }

    /// When request number `slot` is due.
    pub fn due(&self, slot: u64) -> Instant {
        self.start + self.rate.offset(slot)
    }

    /// How many requests are due up to and including `now`.
    pub fn due_by(&self, now: Instant) -> u64 {
        now.checked_duration_since(self.start).map_or(0, |elapsed| self.rate.slots_within(elapsed))
    }
}

impl Rate {
    /// How long after the start request number `slot` is due.
    pub fn offset(self, slot: u64) -> Duration {
        let nanos = u128::from(slot) * SCALE / u128::from(self.thousandths);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many requests are due from the start to `elapsed`, both included.
    pub fn slots_within(self, elapsed: Duration) -> u64 {
        // The exact inverse of `offset`, which rounds down to whole nanoseconds.
        let slots = ((elapsed.as_nanos() + 1) * u128::from(self.thousandths)).div_ceil(SCALE);
        u64::try_from(slots).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances() -> anyhow::Result<()> {
        let rate: Rate = "200".parse()?;
        assert_eq!(rate.offset(0), Duration::ZERO);
        assert_eq!(rate.offset(1), Duration::from_millis(5));
        assert_eq!(rate.offset(400), Duration::from_secs(2));
        Ok(())
    }

    #[test]
    fn a_request_is_released_at_its_due_time_and_not_a_nanosecond_before() -> anyhow::Result<()> {
        for rate in ["0.5", "3", "7.3", "9973", "1000000"] {
            let rate: Rate = rate.parse()?;
            for slot in [1, 2, 3, 10, 999, 123_457] {
                let due = rate.offset(slot);
                assert_eq!(rate.slots_within(due), slot + 1, "slot {slot} at {rate:?}");
                assert_eq!(rate.slots_within(due - Duration::from_nanos(1)), slot, "slot {slot} at {rate:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn nothing_is_due_before_the_start() -> anyhow::Result<()> {
        let now = Instant::now();
        let schedule = Schedule::new(now + Duration::from_secs(1), "100".parse()?);
        assert_eq!(schedule.due_by(now), 0);
        assert_eq!(schedule.due_by(now + Duration::from_secs(1)), 1);
        assert_eq!(schedule.due(100), now + Duration::from_secs(2));
        Ok(())
    }

    #[test]
    fn a_rate_that_was_worked_out_is_within_what_is_possible() {
        for (asked, rate) in
            [(1_234.567_8, "1234.567"), (-1.0, "0.001"), (f64::NAN, "0.001"), (1e12, "1000000")]
        {
            assert_eq!(Rate::about(asked).to_string(), rate);
        }
    }

    #[test]
    fn a_rate_must_be_a_positive_number() {
        for wrong in ["0", "-1", "0.0001", "fast", "10000000"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong} was taken");
        }
    }
}
