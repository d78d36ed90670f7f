//! What happens too often to be told each time: once a second at most it is told how often.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long nothing is told after it was.
const SILENCE: Duration = Duration::from_secs(1);

/// Counts what is told seldom.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    since: u64,
}

impl Seldom {
    /// It happened again. If that is to be told now: how often it has happened since it was told last.
    pub fn tell(&self) -> Option<u64> {
        let (mut state, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        state.since += 1;
        if state.told.is_some_and(|told| now < told + SILENCE) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_at_once_and_those_of_the_next_second_together() {
        let seldom = Seldom::default();
        assert_eq!(seldom.tell(), Some(1));
        assert_eq!((seldom.tell(), seldom.tell()), (None, None));
        tokio::time::advance(SILENCE).await;
        assert_eq!(seldom.tell(), Some(3));
    }
}
