//! How long a caller is ready to wait: `Prefer: wait=N` (RFC 7240).
//!
//! What must stay true: a preference is never an error. What can't be read, and what is no whole number of seconds, is as
//! if it had not been sent; of several waits the first counts. `Preference-Applied` is said only by calls that
//! heed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Where an answer says which preference was heeded.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// For how long a request may be made to wait by others, if its caller said so. Clones are the same patience.
#[derive(Debug, Clone, Default)]
pub struct Patience(Option<Arc<Wait>>);

#[derive(Debug)]
struct Wait {
    seconds: u32,
    since: Instant,
    heeded: AtomicBool,
}

impl Patience {
    /// As the headers of a request say that has just come.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let Some(seconds) = given.flat_map(preferences).find_map(wait).flatten() else {
            return Self(None);
        };
        Self(Some(Arc::new(Wait { seconds, since: Instant::now(), heeded: AtomicBool::new(false) })))
    }

    /// From now on it is heeded, whether or not there will be anything to wait for.
    pub fn heed(&self) {
        if let Some(wait) = &self.0 {
            wait.heeded.store(true, Ordering::Relaxed);
        }
    }

    /// What is left of it, for whoever is about to wait and heeds it. `None` if the caller left it to us.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.heed();
        let wait = self.0.as_ref()?;
        Some(Duration::from_secs(wait.seconds.into()).saturating_sub(wait.since.elapsed()))
    }

    /// What the answer says of it, if it was heeded, where nobody waits longer than `most`: whole seconds, rounded up.
    #[must_use]
    pub fn applied(&self, most: Duration) -> Option<HeaderValue> {
        let wait = self.0.as_ref().filter(|wait| wait.heeded.load(Ordering::Relaxed))?;
        let most = most.as_secs() + u64::from(most.subsec_nanos() > 0);
        HeaderValue::try_from(format!("wait={}", most.min(wait.seconds.into()))).ok()
    }
}

/// The preferences of one header line. A comma between quotes parts nothing.
fn preferences(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

/// `Some` if it is about waiting; `Some(None)` if it says nothing that can be understood.
fn wait(preference: &str) -> Option<Option<u32>> {
    let preference = preference.split(';').next().unwrap_or_default();
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    if !name.trim().eq_ignore_ascii_case("wait") {
        return None;
    }
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // More seconds than fit are as many as can be.
    Some(is_number.then(|| value.parse().unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(lines: &[&'static str]) -> Option<u32> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_static(line));
        }
        Patience::of(&headers).0.map(|wait| wait.seconds)
    }

    #[test]
    fn a_wait_is_read_wherever_it_stands() {
        for (lines, expected) in [
            (&["wait=0"][..], 0),
            (&["Wait = 3"], 3),
            (&["wait=\"7\""], 7),
            (&["respond-async, wait=10"], 10),
            (&["handling=lenient; strictly=no, wait=4; foo"], 4),
            (&["return=minimal", "wait=5"], 5),
            (&["note=\"a, wait=1\", wait=2"], 2),
            (&["wait=2, wait=9"], 2),
            (&["wait=99999999999999999999"], u32::MAX),
        ] {
            assert_eq!(seconds(lines), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn what_can_not_be_understood_is_as_if_it_had_not_been_sent() {
        for lines in [
            &[""][..],
            &["wait"],
            &["wait="],
            &["wait=-1"],
            &["wait=1.5"],
            &["wait=soon"],
            &["wait=soon, wait=3"],
            &["waiting=3"],
            &["\"wait=3"],
            &["wait=\"3"],
        ] {
            assert_eq!(seconds(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn it_is_told_as_applied_only_once_it_was_heeded_and_never_beyond_the_most() {
        let mut headers = HeaderMap::new();
        headers.append(PREFER, HeaderValue::from_static("wait=9"));
        let patience = Patience::of(&headers);
        assert_eq!(patience.applied(Duration::from_secs(5)), None);
        assert!(patience.left().is_some_and(|left| left <= Duration::from_secs(9)));
        assert_eq!(patience.applied(Duration::from_millis(4_001)).unwrap(), "wait=5");
        assert_eq!(patience.applied(Duration::from_secs(60)).unwrap(), "wait=9");
        assert_eq!(Patience::default().left(), None);
    }
}
