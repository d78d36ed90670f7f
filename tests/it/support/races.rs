//! Many at once, from one starting line.

use std::sync::Arc;

use tokio::sync::Barrier;

/// Runs `n` of what `make` makes, each in a task of its own, none before all are ready, and gives what came
/// of each, in the order they were made.
pub async fn at_once<F>(n: usize, make: impl Fn(usize) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let line = Arc::new(Barrier::new(n));
    let start = |index| {
        let (line, runner) = (line.clone(), make(index));
        tokio::spawn(async move {
            line.wait().await;
            runner.await
        })
    };
    let runners: Vec<_> = (0..n).map(start).collect();
    let mut outcomes = Vec::with_capacity(n);
    for runner in runners {
        outcomes.push(runner.await.unwrap());
    }
    outcomes
}
