//! Onlookers: what an open console and Prometheus ask for, again and again, while one side is measured.
//!
//! What must stay true: a ratio beside onlookers means that they looked as often as they were said to; else that is told.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::Side;
use crate::connection::Caller;

/// The page, what it asks for while it is open, and the metrics.
const PATHS: [&str; 4] = ["/", "/api/v1/status", "/api/v1/locks/status", "/metrics"];
/// A share of the looks that may be missing: those under way, and a moment's start.
const MISSED_MAX: f64 = 0.1;

/// Does `work` while each of the side's replicas is asked for all of them, so many times a second. Also tells if they could
/// not be asked for so often.
pub async fn beside_onlookers<T>(
    side: &Side,
    times: Option<u32>,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Option<String>)> {
    let Some(times) = times else { return Ok((work.await?, None)) };
    let (since, made, mut looking) = (Instant::now(), Rc::new(Cell::new(0_u64)), JoinSet::new());
    for target in &side.targets {
        for path in PATHS {
            let caller = Caller::new(std::slice::from_ref(target), &side.bearer)?;
            looking.spawn_local(look(caller, path, times, Rc::clone(&made)));
        }
    }
    let done = select! {
        done = work => done?,
        Some(broken) = looking.join_next() => match broken?? {},
    };
    let due = since.elapsed().as_secs_f64() * f64::from(times) * (PATHS.len() * side.targets.len()) as f64;
    let few = (made.get() as f64) < due * (1.0 - MISSED_MAX);
    Ok((done, few.then(|| format!("onlookers looked {} times instead of {due:.0}", made.get()))))
}

/// One look follows the other: whoever is answered late asks at once, until it has asked as often as it should have.
async fn look(mut caller: Caller, path: &str, times: u32, made: Rc<Cell<u64>>) -> anyhow::Result<Infallible> {
    let mut ticks = interval(Duration::from_secs(1) / times);
    loop {
        ticks.tick().await;
        caller.read(path, 0).await?;
        made.set(made.get() + 1);
    }
}
