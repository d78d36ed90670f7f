//! Requests begin a few at a time: a crowd does not come between those under way and their next steps.
//!
//! A thread runs what is ready in the order in which it became ready. Let thousands of requests come at once, and whoever
//! waits for Postgres goes on only after all of them were read, at every step: nobody is served in time. So who comes waits
//! here, first come, first served, until few are being read; what is under way stands behind those few alone.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many begin at a time.
const AT_ONCE: usize = 16;

/// What every request passes.
#[derive(Debug)]
pub struct Turnstile(Arc<Semaphore>);

/// Leave to begin.
#[derive(Debug)]
pub struct Turn(Option<OwnedSemaphorePermit>);

impl Default for Turnstile {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turnstile {
    /// Waits until few enough are beginning.
    pub async fn pass(&self) -> Turn {
        // It is never closed.
        Turn(self.0.clone().acquire_owned().await.ok())
    }
}

impl Turn {
    /// Runs `request`, which has begun once it waits for anything.
    pub async fn begin<F: Future>(self, request: F) -> F::Output {
        let (mut request, mut permit) = (pin!(request), self.0);
        poll_fn(move |context| {
            let polled = request.as_mut().poll(context);
            drop(permit.take());
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_few_begin_at_a_time_and_the_next_when_one_of_them_waits_or_is_done() {
        let turnstile = Turnstile::default();
        let mut come = Vec::new();
        for _ in 0..AT_ONCE {
            let Poll::Ready(turn) = poll(pin!(turnstile.pass())) else { panic!("few have come") };
            come.push(turn);
        }
        let (mut next, mut last) = (pin!(turnstile.pass()), pin!(turnstile.pass()));
        assert!(poll(next.as_mut()).is_pending() && poll(last.as_mut()).is_pending());
        let mut waits = pin!(come.remove(0).begin(pending::<()>()));
        assert!(poll(waits.as_mut()).is_pending());
        assert!(poll(last.as_mut()).is_pending(), "first come, first served");
        let Poll::Ready(turn) = poll(next.as_mut()) else { panic!("one of them waits") };
        assert!(poll(last.as_mut()).is_pending());
        assert!(poll(pin!(turn.begin(ready(())))).is_ready());
        assert!(poll(last.as_mut()).is_ready());
    }
}
