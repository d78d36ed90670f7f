//! Many callers that share a counted piece of work between them.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::Context;
use tokio::task::JoinSet;

use super::Caller;

/// Does `work` for every position below `total`, each on whichever caller is free; the first error ends it.
pub async fn spread_over<W>(callers: Vec<Caller>, total: usize, work: W) -> anyhow::Result<()>
where
    W: AsyncFn(&mut Caller, usize) -> anyhow::Result<()> + 'static,
{
    let work = Rc::new(work);
    let next = Rc::new(Cell::new(0));
    let mut crew = JoinSet::new();
    for mut caller in callers {
        let (work, next) = (Rc::clone(&work), Rc::clone(&next));
        crew.spawn_local(async move {
            while next.get() < total {
                let position = next.replace(next.get() + 1);
                work(&mut caller, position).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(member) = crew.join_next().await {
        member.context("a worker stopped in the middle")??;
    }
    Ok(())
}
