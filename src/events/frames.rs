//! Events as streams tell them: each is written once a process, however many hear it.
//!
//! What must stay true: whatever waits for readers, in the ring, in pages and in their queues, is counted once, in bytes, for
//! as long as anybody has it. Where that is more than may be, nothing more is kept for anybody: those who follow go on from
//! the database, and those who read there wait until others have taken theirs. Whoever takes nothing, or waits too long, is
//! cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;

use super::model::Event;

/// An event, and what readers are sent of it.
#[derive(Debug)]
pub struct Frame {
    /// The event, whose data has gone into the frame.
    pub event: Event,
    /// What readers are sent. Clones are the same bytes.
    pub bytes: Bytes,
}

/// How many bytes wait for readers. Clones are the same count.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<AtomicUsize>);

impl Held {
    /// So many bytes are held now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Writes an event's frame, which is counted until the last of its bytes' clones is gone.
    #[must_use]
    pub fn frame(&self, mut event: Event) -> Frame {
        let text = format!("id: {}\nevent: {}\ndata: {}\n\n", event.position, event.kind, event.data);
        event.data = String::new();
        self.0.fetch_add(text.len(), Ordering::Relaxed);
        Frame { event, bytes: Bytes::from_owner(Counted { text, held: self.clone() }) }
    }
}

struct Counted {
    text: String,
    held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::model::Subject;
    use super::*;

    #[test]
    fn what_waits_is_counted_once_however_many_have_it_and_until_the_last_has_taken_it() {
        let held = Held::default();
        let frame = held.frame(Event {
            position: 7,
            event_id: Uuid::nil(),
            kind: "stock.low".into(),
            data: "{}".to_owned(),
            subject: Subject::default(),
            about: None,
            traceparent: None,
        });
        assert_eq!(frame.bytes, "id: 7\nevent: stock.low\ndata: {}\n\n");
        let (one, other) = (frame.bytes.clone(), frame.bytes.clone());
        assert_eq!(held.bytes(), one.len());
        drop((frame, one));
        assert_eq!(held.bytes(), other.len());
        drop(other);
        assert_eq!(held.bytes(), 0);
    }
}
