//! What a connection through the proxy is like: sound, or broken in one of the ways that networks break.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// The state of all connections through a proxy, those that are there and those that will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Sound,
    /// Nobody listens, and connections that were there are closed.
    Refused,
    /// Connections are reset, and so is whoever comes.
    Reset,
    /// Connections are accepted, and what is sent either way is never heard of again.
    BlackHole,
    /// Nothing is carried for now, and nothing is lost.
    Stalled,
    /// The same for the connections that are there; those that come are sound.
    StalledSoFar,
    /// Each piece takes a time drawn from this range of milliseconds, each way.
    Slow(u64, u64),
    /// Requests arrive and are carried out; their answers do not come.
    NoAnswers,
    /// A connection ends after so many bytes of answers, whatever they are in the middle of.
    CutAfter(usize),
    /// One byte of each answer is not what was sent.
    Garbled,
}

/// One connection's share of it.
pub struct Wire {
    link: watch::Receiver<Link>,
    /// Made while others were stalled.
    came_after: bool,
    /// A connection that lost a byte never carries another that way: TCP leaves no gaps.
    lost_requests: AtomicBool,
    lost_answers: AtomicBool,
    /// Bytes of answers carried since connections are cut.
    answered: AtomicUsize,
}

impl Wire {
    pub fn new(link: watch::Receiver<Link>) -> Self {
        let came_after = *link.borrow() == Link::StalledSoFar;
        Self {
            link,
            came_after,
            lost_requests: AtomicBool::default(),
            lost_answers: AtomicBool::default(),
            answered: AtomicUsize::default(),
        }
    }

    fn now(&self) -> Link {
        *self.link.borrow()
    }

    /// Returns once the connection is to be broken off, and says whether by a reset.
    pub async fn until_broken(&self) -> bool {
        let broken = |link: &Link| matches!(link, Link::Refused | Link::Reset);
        matches!(self.link.clone().wait_for(broken).await.as_deref(), Ok(Link::Reset))
    }

    /// Takes as long as a piece takes on its way.
    pub async fn travel(&self) {
        if let Link::Slow(low, high) = self.now() {
            tokio::time::sleep(Duration::from_millis(low + draw(high - low + 1))).await;
        }
        // A proxy that is gone holds nothing up.
        let mut link = self.link.clone();
        let moves = |link: &Link| match link {
            Link::Stalled => false,
            Link::StalledSoFar => self.came_after,
            _ => true,
        };
        let _moving = link.wait_for(moves).await.is_ok();
    }

    /// From now on nothing gets through.
    pub fn fall_silent(&self) {
        self.lost_requests.store(true, Ordering::SeqCst);
        self.lost_answers.store(true, Ordering::SeqCst);
    }

    /// Whether a request gets through.
    pub fn carries_request(&self) -> bool {
        if self.now() == Link::BlackHole {
            self.lost_requests.store(true, Ordering::SeqCst);
        }
        !self.lost_requests.load(Ordering::SeqCst)
    }

    /// What gets through of a piece of an answer, spoilt if it must be, and whether the connection goes on.
    pub fn carries_answer<'a>(&self, bytes: &'a mut [u8]) -> (&'a [u8], bool) {
        match self.now() {
            Link::BlackHole | Link::NoAnswers => self.lost_answers.store(true, Ordering::SeqCst),
            Link::Garbled => {
                let place = draw(bytes.len() as u64) as usize;
                bytes[place] ^= 1 + draw(255) as u8;
            }
            Link::CutAfter(limit) => {
                let before = self.answered.fetch_add(bytes.len(), Ordering::SeqCst);
                if before + bytes.len() >= limit {
                    return (&bytes[..limit.saturating_sub(before)], false);
                }
            }
            _ => {}
        }
        if self.lost_answers.load(Ordering::SeqCst) { (&[], true) } else { (bytes, true) }
    }
}

/// A number below `bound`, for bounds that are small.
pub fn draw(bound: u64) -> u64 {
    let random = u32::from_be_bytes(std::array::from_fn(|_| holdfast::ids::random_byte()));
    u64::from(random) % bound
}
