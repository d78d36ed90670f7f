//! Commands that are run in the middle of a phase, such as one that takes Redis away.
//!
//! What must stay true: each is run, and in their order, even if the phase is stopped before its time: what one took
//! away, the next brings back. Nothing waits for a command, which may be a server that goes on.

use std::cell::RefCell;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use anyhow::Context;
use tokio::time::sleep_until;

use super::figures::Window;
use super::{Event, Record};
use crate::terminal::remark;

/// The events of one phase.
#[derive(Debug)]
pub struct Events {
    waiting: Vec<Event>,
    started: Vec<(String, anyhow::Result<Child>)>,
}

impl Events {
    /// None of them has been run.
    pub fn new(events: &[Event]) -> Rc<RefCell<Self>> {
        let waiting = events.iter().rev().cloned().collect();
        Rc::new(RefCell::new(Self { waiting, started: Vec::new() }))
    }

    /// Runs each when its time has come.
    pub async fn in_time(events: Rc<RefCell<Self>>, window: Window, record: Rc<RefCell<Record>>) {
        loop {
            let Some(share) = events.borrow().waiting.last().map(|event| event.at) else {
                return;
            };
            sleep_until(window.at(share).into()).await;
            events.borrow_mut().run_next(&record);
        }
    }

    /// Runs what was not run yet, and tells which of the commands failed.
    pub fn finish(&mut self, record: &RefCell<Record>) -> Vec<String> {
        while !self.waiting.is_empty() {
            self.run_next(record);
        }
        self.started.drain(..).filter_map(|(command, child)| failure(&command, child)).collect()
    }

    fn run_next(&mut self, record: &RefCell<Record>) {
        let Some(event) = self.waiting.pop() else {
            return;
        };
        remark(&format!("{}: {}", event.name, event.command));
        record.borrow_mut().mark(event.name);
        let child = Command::new("sh")
            .args(["-c", &event.command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start a shell");
        self.started.push((event.command, child));
    }
}

/// Why a command cannot have done what it was for, if it cannot.
fn failure(command: &str, child: anyhow::Result<Child>) -> Option<String> {
    let ended = child.and_then(|mut child| child.try_wait().context("cannot ask for its end"));
    match ended {
        Ok(None) => None,
        Ok(Some(status)) if status.success() => None,
        Ok(Some(status)) => Some(format!("{command}: {status}")),
        Err(error) => Some(format!("{command}: {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn event(at: f64, command: String) -> Event {
        Event { name: "away", at, command }
    }

    #[tokio::test]
    async fn what_was_not_run_in_time_is_run_at_the_end_and_in_order() -> anyhow::Result<()> {
        let file = std::env::temp_dir().join(format!("holdfast-load-events-{}", uuid::Uuid::new_v4()));
        let wrote = |word: &str| format!("echo {word} >> {}", file.display());
        let events = Events::new(&[event(0.0, wrote("away")), event(1.0, wrote("back"))]);
        let record = Rc::new(RefCell::new(Record::new(Instant::now())));
        let window = Window { from: Instant::now(), to: Instant::now() + Duration::from_secs(3_600) };
        let task = Events::in_time(Rc::clone(&events), window, Rc::clone(&record));
        assert!(tokio::time::timeout(Duration::from_millis(50), task).await.is_err());
        for (_, child) in &mut events.borrow_mut().started {
            child.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?.wait()?;
        }
        events.borrow_mut().run_next(&record);
        for (_, child) in &mut events.borrow_mut().started {
            child.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?.wait()?;
        }
        assert!(events.borrow_mut().finish(&record).is_empty());
        assert_eq!(std::fs::read_to_string(&file)?, "away\nback\n");
        assert_eq!(record.borrow().marks.len(), 2);
        std::fs::remove_file(file)?;
        Ok(())
    }

    #[test]
    fn a_command_that_failed_is_told() -> anyhow::Result<()> {
        let events = Events::new(&[event(0.0, "exit 3".into())]);
        let record = RefCell::new(Record::new(Instant::now()));
        events.borrow_mut().run_next(&record);
        for (_, child) in &mut events.borrow_mut().started {
            child.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?.wait()?;
        }
        let failures = events.borrow_mut().finish(&record);
        assert!(failures.len() == 1 && failures[0].starts_with("exit 3: "), "{failures:?}");
        Ok(())
    }
}
