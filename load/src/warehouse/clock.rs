//! The clocks of devices, some of which are wrong.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};

/// How a device's clock is wrong, and who knows.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    Right,
    /// So much ahead of the true time; it compares itself with what heartbeats say.
    Compared(TimeDelta),
    /// So much ahead; it only says what it shows when it sends.
    SaysSo(TimeDelta),
}

impl Clock {
    pub fn of(device: usize) -> Self {
        match device % 10 {
            0 => Self::Compared(TimeDelta::minutes(120)),
            1 => Self::Compared(TimeDelta::minutes(-40)),
            2 => Self::SaysSo(TimeDelta::minutes(90)),
            _ => Self::Right,
        }
    }

    /// What it shows now.
    pub fn shown(self) -> anyhow::Result<DateTime<Utc>> {
        let ahead = match self {
            Self::Right => TimeDelta::zero(),
            Self::Compared(ahead) | Self::SaysSo(ahead) => ahead,
        };
        now().checked_add_signed(ahead).context("a time")
    }
}

#[expect(clippy::disallowed_methods, reason = "a device counts by its own clock")]
fn now() -> DateTime<Utc> {
    DateTime::<Utc>::from(std::time::SystemTime::now())
}
