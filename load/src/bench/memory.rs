//! How much memory a process keeps resident while it is under load, as `ps` tells it.

use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
const KIB_IN_MIB: f64 = 1_024.0;

/// Looks at one process until it is told to stop.
#[derive(Debug)]
pub struct Memory {
    stop: Sender<()>,
    looking: JoinHandle<anyhow::Result<f64>>,
}

impl Memory {
    /// Begins to look.
    pub fn watch(pid: u32) -> anyhow::Result<Self> {
        let (stop, stopped) = channel();
        let look = move || {
            let mut most: f64 = 0.0;
            loop {
                most = most.max(resident_mib(pid)?);
                if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                    return Ok(most);
                }
            }
        };
        let looking = Builder::new().name("memory".into()).spawn(look).context("cannot start a thread")?;
        Ok(Self { stop, looking })
    }

    /// The most that was seen, in MiB.
    pub fn most(self) -> anyhow::Result<f64> {
        drop(self.stop);
        self.looking.join().map_err(|_| anyhow!("the look at the memory broke off"))?
    }
}

fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let output =
        Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output().context("cannot run ps")?;
    let kib: f64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .with_context(|| format!("ps knows no process {pid}"))?;
    Ok(kib / KIB_IN_MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_has_some_memory() -> anyhow::Result<()> {
        assert!(Memory::watch(std::process::id())?.most()? > 1.0);
        Ok(())
    }

    #[test]
    fn a_process_that_is_not_there_is_told() -> anyhow::Result<()> {
        assert!(Memory::watch(u32::MAX >> 1)?.most().is_err());
        Ok(())
    }
}
