//! Traces: where a request's time went, told in spans. Off unless a collector is named.
//!
//! A trace is handed on, from the request to its verb and on to its section, as everything else that belongs to a request
//! is: in [`RequestContext`](crate::http::shell::RequestContext) and [`Caller`](crate::http::auth::Caller).
//!
//! What must stay true:
//! - Nothing waits for a collector: a span for which there is no room is dropped, and counted.
//! - Off, a span costs a look at an empty option.
//! - No secret is told: of a request its method, its route, its status and its id; no path, query, header or body.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::metrics::TraceMetrics;
use super::settings::TraceSettings;
use super::traceparent::{Parent, traceparent};
use crate::{clock, ids};

/// Where a caller says which trace it is in, and a webhook says it to its receiver.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Where an answer says it.
pub const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// Of requests in a second so many are told because their caller wishes it, and not by the share that is told anyway: who calls
/// is not known yet, so anybody may wish.
const WISHES_A_SECOND: u32 = 10;
/// How many spans wait to be told at most.
const ROOM: usize = 8_192;

tokio::task_local! {
    static CURRENT: Trace;
}

/// Begins traces, if there is a collector to tell them to. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    ended: mpsc::Sender<Ended>,
    /// Of so many requests that say nothing of a trace, from 0 to 1, one is begun.
    ratio: f64,
    /// When the second began of which wishes are counted, and how many were granted in it.
    wishes: Mutex<(Instant, u32)>,
    metrics: TraceMetrics,
}

/// A place in a trace: a span that others may be part of.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Place>>);

#[derive(Debug)]
struct Place {
    tracer: Arc<Inner>,
    trace_id: u128,
    span_id: u64,
    is_told: bool,
    /// When its first span here began, by both clocks: the monotonic one, and in nanoseconds since 1970. So the times of
    /// a trace agree with each other, and a clock that was set is right from the next one on.
    moment: (Instant, i64),
    /// The request that it all comes from, as `traceparent` writes it.
    request: Arc<str>,
}

/// What goes on. It ends when it is dropped.
#[derive(Debug, Default)]
#[must_use = "a span that is dropped has ended"]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    place: Arc<Place>,
    parent: Option<u64>,
    name: Cow<'static, str>,
    kind: Kind,
    since: Instant,
    notes: Vec<(&'static str, Note)>,
    has_failed: bool,
}

/// Which side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Neither.
    Internal,
    /// The called.
    Server,
    /// The caller.
    Client,
}

/// What is noted of a span.
#[derive(Debug, Clone)]
pub enum Note {
    /// A word.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Note {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<usize> for Note {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i32> for Note {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

/// A span that has ended.
#[derive(Debug)]
pub struct Ended {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) parent: Option<u64>,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    /// In nanoseconds since 1970.
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) notes: Vec<(&'static str, Note)>,
    pub(super) has_failed: bool,
}

impl Tracer {
    /// One that begins traces, and the end where spans come out; or one that does nothing.
    #[must_use]
    pub fn new(settings: Option<&TraceSettings>) -> (Self, Option<mpsc::Receiver<Ended>>) {
        let Some(settings) = settings else { return (Self::default(), None) };
        let (ended, told) = mpsc::channel(ROOM);
        let wishes = Mutex::new((Instant::now(), 0));
        let inner = Inner { ended, ratio: settings.ratio, wishes, metrics: TraceMetrics::default() };
        (Self(Some(Arc::new(inner))), Some(told))
    }

    /// Whether anything is told.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What is counted of spans; what is counted in vain if traces are off.
    #[must_use]
    pub fn metrics(&self) -> TraceMetrics {
        self.0.as_ref().map(|inner| inner.metrics.clone()).unwrap_or_default()
    }

    /// A request's span, in the trace that it says it is part of, or in a new one. Its wish to be told is heeded as far as
    /// wishes are.
    pub fn request(&self, headers: &HeaderMap, name: impl FnOnce() -> String) -> Span {
        let Some(tracer) = &self.0 else { return Span::default() };
        let mut given = headers.get_all(TRACEPARENT).iter();
        let parent = match (given.next(), given.next()) {
            (Some(one), None) => one.to_str().ok().and_then(Parent::read),
            _ => None,
        };
        let parent = parent.map(|parent| Parent {
            is_told: parent.is_told && (tracer.is_drawn(parent.trace_id) || tracer.grants_wish()),
            ..parent
        });
        tracer.span(parent, Kind::Server, name().into())
    }

    /// A span of what goes on for nobody's request, or for one long ago, which `traceparent` names.
    pub fn background(&self, traceparent: Option<&str>, kind: Kind, name: &'static str) -> Span {
        let Some(tracer) = &self.0 else { return Span::default() };
        tracer.span(traceparent.and_then(Parent::read), kind, name.into())
    }
}

impl Inner {
    /// Whether a trace is of the share that is told: by the lower half of its id, as others draw it.
    fn is_drawn(&self, trace_id: u128) -> bool {
        (trace_id as u64 >> 11) as f64 / (1_u64 << 53) as f64 <= self.ratio
    }

    fn grants_wish(&self) -> bool {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        if wishes.0.elapsed() >= Duration::from_secs(1) {
            *wishes = (Instant::now(), 0);
        }
        wishes.1 += 1;
        wishes.1 <= WISHES_A_SECOND
    }

    fn span(self: &Arc<Self>, parent: Option<Parent>, kind: Kind, name: Cow<'static, str>) -> Span {
        let (trace_id, is_told) = match &parent {
            Some(parent) => (parent.trace_id, parent.is_told),
            None => {
                let trace_id = ids::random_u128();
                (trace_id, self.is_drawn(trace_id))
            }
        };
        let span_id = new_span_id();
        let request = traceparent(trace_id, span_id, is_told).into();
        let moment = (Instant::now(), clock::shown_now().timestamp_nanos_opt().unwrap_or_default());
        let place = Place { tracer: self.clone(), trace_id, span_id, is_told, moment, request };
        let parent = parent.map(|parent| parent.span_id);
        Span::begun(Arc::new(place), parent, kind, name, moment.0)
    }
}

impl Place {
    fn nanos(&self, at: Instant) -> i64 {
        let (moment, nanos) = self.moment;
        let since = i64::try_from(at.saturating_duration_since(moment).as_nanos()).unwrap_or(i64::MAX);
        nanos.saturating_add(since)
    }
}

impl Trace {
    /// A span within this one, from now on.
    pub fn span(&self, name: &'static str) -> Span {
        self.span_since(name, Instant::now)
    }

    /// A span within this one that began before.
    pub fn span_since(&self, name: &'static str, since: impl FnOnce() -> Instant) -> Span {
        let Some(place) = &self.0 else { return Span::default() };
        let inner = Place {
            tracer: place.tracer.clone(),
            trace_id: place.trace_id,
            span_id: new_span_id(),
            is_told: place.is_told,
            moment: place.moment,
            request: place.request.clone(),
        };
        Span::begun(Arc::new(inner), Some(place.span_id), Kind::Internal, name.into(), since())
    }

    /// As it is said to others.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.0.as_ref().map(|place| traceparent(place.trace_id, place.span_id, place.is_told))
    }

    /// The request that it all comes from, as it is kept with what that request does.
    #[must_use]
    pub fn request(&self) -> Option<&str> {
        self.0.as_ref().map(|place| &*place.request)
    }

    /// The id of the trace, if it is told.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        self.0.as_ref().filter(|place| place.is_told).map(|place| format!("{:032x}", place.trace_id))
    }

    /// Runs `work` so that [`current_request`] knows this trace.
    pub async fn within<T>(self, work: impl Future<Output = T>) -> T {
        match self.0 {
            None => work.await,
            Some(_) => CURRENT.scope(self, work).await,
        }
    }
}

/// The request that this task works for, as it is kept with what it does.
#[must_use]
pub fn current_request() -> Option<String> {
    CURRENT.try_with(|trace| trace.request().map(str::to_owned)).ok().flatten()
}

impl Span {
    fn begun(
        place: Arc<Place>,
        parent: Option<u64>,
        kind: Kind,
        name: Cow<'static, str>,
        since: Instant,
    ) -> Self {
        Self(Some(Box::new(Open { place, parent, name, kind, since, notes: Vec::new(), has_failed: false })))
    }

    /// Its place, for spans within it.
    #[must_use]
    pub fn trace(&self) -> Trace {
        Trace(self.0.as_ref().map(|open| open.place.clone()))
    }

    /// Notes something of it.
    pub fn note(&mut self, name: &'static str, note: impl Into<Note>) {
        if let Some(open) = &mut self.0 {
            open.notes.push((name, note.into()));
        }
    }

    /// It came to no good.
    pub fn failed(&mut self) {
        if let Some(open) = &mut self.0 {
            open.has_failed = true;
        }
    }

    /// It came to no good if this did not.
    pub fn ended_with<T, E>(mut self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_err() {
            self.failed();
        }
        outcome
    }

    /// It ended at `until`.
    pub fn end_at(mut self, until: Instant) {
        self.end(until);
    }

    fn end(&mut self, until: Instant) {
        let Some(open) = self.0.take().filter(|open| open.place.is_told) else { return };
        let place = open.place;
        let ended = Ended {
            trace_id: place.trace_id,
            span_id: place.span_id,
            parent: open.parent,
            from: place.nanos(open.since),
            until: place.nanos(until),
            name: open.name,
            kind: open.kind,
            notes: open.notes,
            has_failed: open.has_failed,
        };
        if place.tracer.ended.try_send(ended).is_err() {
            place.tracer.metrics.count("dropped", 1);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.0.is_some() {
            // What unwinds through it is no good end.
            if std::thread::panicking() {
                self.failed();
            }
            self.end(Instant::now());
        }
    }
}

fn new_span_id() -> u64 {
    (ids::random_u128() as u64).max(1)
}

/// The header that says it.
#[must_use]
pub fn header_of(trace: &Trace) -> Option<HeaderValue> {
    trace.traceparent().and_then(|text| HeaderValue::try_from(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> TraceSettings {
        let read = TraceSettings::read(&|name| {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://127.0.0.1:4318".to_owned())
        });
        read.unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_callers_wish_to_be_told_is_heeded_for_a_few_requests_a_second_beyond_the_share() {
        let wish = |drawn: u64| {
            let traceparent = format!("00-{:032x}-00f067aa0ba902b7-01", (1_u128 << 64) | u128::from(drawn));
            HeaderMap::from_iter([(TRACEPARENT, HeaderValue::try_from(traceparent).unwrap())])
        };
        let (tracer, _told) = Tracer::new(Some(&TraceSettings { ratio: 0.5, ..settings() }));
        let told = |drawn| {
            (0..1_000).filter(|_| tracer.request(&wish(drawn), String::new).trace().id().is_some()).count()
        };
        assert_eq!((told(0), told(u64::MAX), told(u64::MAX), told(0)), (1_000, 10, 0, 1_000));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(told(u64::MAX), 10);
    }

    #[test]
    fn a_span_that_a_panic_went_through_has_failed() {
        let (tracer, ended) = Tracer::new(Some(&settings()));
        let mut ended = ended.unwrap();
        for panics in [false, true] {
            let span = tracer.background(None, Kind::Internal, "work");
            let work = std::panic::AssertUnwindSafe(|| {
                let _told = span;
                assert!(!panics, "on purpose");
            });
            assert_eq!(std::panic::catch_unwind(work).is_err(), panics);
            assert_eq!(ended.try_recv().unwrap().has_failed, panics);
        }
    }

    #[test]
    fn a_span_for_which_there_is_no_room_is_dropped_and_counted() {
        let (tracer, _ended) = Tracer::new(Some(&settings()));
        for _ in 0..ROOM + 3 {
            drop(tracer.background(None, Kind::Internal, "work"));
        }
        assert_eq!(tracer.metrics().dropped(), 3);
    }

    #[test]
    fn off_a_span_is_nothing_and_so_is_all_within_it() {
        let (tracer, ended) = Tracer::new(None);
        let mut span = tracer.request(&HeaderMap::new(), || unreachable!("nobody wants its name"));
        span.note("a", 1);
        let within = span.trace().span_since("within", || unreachable!("nobody wants its time"));
        assert!(ended.is_none() && within.0.is_none() && span.trace().traceparent().is_none());
    }
}
