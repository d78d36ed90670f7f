//! `GET /events`: what happens, as server-sent events, from now on or from where the reader was.
//! Refuses a cursor whose continuation is forgotten, and types the key may not see.
//!
//! What must stay true: an event is sent after all before it that the reader may see, and once a stream; a reader that
//! takes nothing is cut with its connection, so that nothing waits for it any more; what waits is bounded in frames and, until
//! it has gone to the socket, in bytes; a service that stops ends all streams at once. Whoever is cut goes on from the last id
//! it has.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::choice::{Choice, Types};
use super::error::EventError;
use super::frames::Frame;
use super::places::Place;
use super::relay::Told;
use super::store;
use crate::app::App;
use crate::http::auth::Caller;
use crate::http::extract::Params;
use crate::http::server::Connection;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies that gather what they pass on are asked not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Streams that read the database at once, because they come from far behind.
pub(super) const CATCHING_UP_MAX: usize = 2;
/// How many events of each sort are read at once,
const PAGE: i64 = 200;
/// and of them so many bytes are kept, and one event at least: what comes after is read anew.
const PAGE_BYTES: usize = 256 * 1024;
/// Frames that wait for a reader at most,
const FRAMES: usize = 16;
/// and so many bytes that have not gone to its socket, or one frame that is larger.
const FRAMES_BYTES: u32 = 256 * 1024;
/// Whoever has taken all of its own waits so much longer for others than they may take nothing: they are cut first.
const PATIENCE: u32 = 3;
/// Between two looks whether others have taken what waits for them.
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(50);
/// A stream is ended after so long, that its key is looked at again.
const LASTS_MAX: Duration = Duration::from_secs(60 * 60);

/// `GET /events?types=&variant_id=&last_event_id=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadEvents {
    types: Option<Types>,
    variant_id: Option<Uuid>,
    last_event_id: Option<String>,
}

/// # Errors
/// [`EventError`].
pub async fn stream(
    State(app): State<Arc<App>>,
    caller: Caller,
    connection: Connection,
    headers: HeaderMap,
    Params(query): Params<ReadEvents>,
) -> Result<Response, EventError> {
    let choice =
        Choice::of(&caller.principal, query.types.as_ref(), query.variant_id).map_err(EventError::Hidden)?;
    // A browser that connects again sends the header, and the address of its first connection.
    let header = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("?"));
    let given = header.or(query.last_event_id.as_deref()).map(cursor).transpose()?;
    let place = app.readers.take(&caller.principal).ok_or(EventError::TooManyReaders)?;
    let lost = app.events.losses();
    let bounds = store::find_bounds(&mut *app.db.read().await?).await?;
    let from = given.unwrap_or(bounds.drawn);
    if from < bounds.horizon || from > bounds.drawn {
        return Err(EventError::CursorGone);
    }
    let (frames, sent) = mpsc::channel(FRAMES);
    let room = Arc::new(Semaphore::new(FRAMES_BYTES as usize));
    let reader = Reader {
        app: app.clone(),
        choice,
        frames,
        room,
        cursor: from,
        page: PAGE,
        lost,
        connection,
        _place: place,
    };
    app.tasks.spawn(reader.serve(given.is_none()));
    let body = futures_util::stream::unfold(sent, async |mut sent: mpsc::Receiver<Bytes>| {
        Some((Ok::<_, Infallible>(sent.recv().await?), sent))
    });
    let headers =
        [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn cursor(text: &str) -> Result<i64, EventError> {
    let is_plain = (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain).ok_or(EventError::NotACursor)
}

/// Why a stream ends.
enum End {
    /// Its reader is gone, the service stops, or it has lasted long enough.
    Over,
    /// Its reader took nothing.
    Stalled,
    /// The database failed, forgot what comes next, or has lost what it was told.
    Broken,
}

/// What waits for a reader, and its share of the room there is for that, until it has gone to the socket.
struct Waiting {
    frame: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Waiting {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// Some of what a reader missed, and the position it ends at.
struct Page {
    frames: Vec<Frame>,
    end: i64,
}

struct Reader {
    app: Arc<App>,
    choice: Choice,
    frames: mpsc::Sender<Bytes>,
    /// In bytes.
    room: Arc<Semaphore>,
    /// Up to where it was told everything it asked for.
    cursor: i64,
    /// How many events of each sort it reads at once: fewer where they are large.
    page: i64,
    /// To where the database fell back, if it lost what was told.
    lost: watch::Receiver<i64>,
    connection: Connection,
    _place: Place,
}

impl Reader {
    async fn serve(mut self, is_new: bool) {
        let (app, frames, connection) = (self.app.clone(), self.frames.clone(), self.connection.clone());
        app.events.metrics.readers.inc();
        let ended = tokio::select! {
            ended = self.tell_all(is_new) => ended,
            () = app.draining() => End::Over,
            // Also while it waits for its turn, or reads what it has nothing to tell of.
            () = frames.closed() => End::Over,
            () = sleep(LASTS_MAX) => End::Over,
        };
        app.events.metrics.readers.dec();
        if matches!(ended, End::Stalled) {
            // What was handed over waits there for whoever takes nothing.
            connection.cut();
            app.events.metrics.cut.inc();
        }
    }

    async fn tell_all(&mut self, is_new: bool) -> End {
        let ended = async {
            if is_new {
                self.settle().await?;
            }
            self.send(format!("retry: 1000\n: from here on\nid: {}\n\n", self.cursor).into()).await?;
            loop {
                self.wait_for_others().await?;
                let (mut told, at) = self.app.events.join();
                self.look_whether_it_was_lost()?;
                if self.catch_up(at).await? {
                    self.follow(&mut told).await?;
                }
            }
        };
        let ended: Result<Infallible, End> = ended.await;
        match ended {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }

    /// Waits until nobody writes any more up to where a new stream begins. So whoever looks at the stock once it was told
    /// "from here on" misses nothing: what it does not see there, it is told.
    async fn settle(&mut self) -> Result<(), End> {
        let mut at = self.app.events.watch();
        loop {
            let coming = async { at.wait_for(|at| *at >= self.cursor).await.map(drop) };
            tokio::select! {
                come = coming => return come.map_err(|_| End::Over),
                () = sleep(self.app.events.limits.heartbeat) => {}
            }
            self.send(Bytes::from_static(b": waiting for what is under way\n\n")).await?;
            // A crash of the database may have taken back what was drawn when it began, and nobody was told of yet.
            if let Ok(mut conn) = self.app.db.read().await
                && let Ok(bounds) = store::find_bounds(&mut conn).await
            {
                self.cursor = self.cursor.min(bounds.drawn);
            }
        }
    }

    /// Where the database has lost what this reader was told, new events come to the same positions, which it would never
    /// be told. It is told so when it comes back with its cursor.
    fn look_whether_it_was_lost(&mut self) -> Result<(), End> {
        let is_lost =
            self.lost.has_changed().unwrap_or(false) && *self.lost.borrow_and_update() < self.cursor;
        if is_lost { Err(End::Broken) } else { Ok(()) }
    }

    /// Tells what is told, until something was missed.
    async fn follow(&mut self, told: &mut broadcast::Receiver<Told>) -> Result<(), End> {
        let each = self.app.events.limits.heartbeat;
        let mut heartbeat = tokio::time::interval_at(Instant::now() + each, each);
        loop {
            tokio::select! {
                heard = told.recv() => match heard {
                    Ok(Told::Event(frame)) => self.tell(&frame).await?,
                    Ok(Told::Moved) | Err(broadcast::error::RecvError::Lagged(_)) => return Ok(()),
                    Err(broadcast::error::RecvError::Closed) => return Err(End::Over),
                },
                _ = heartbeat.tick() => self.show_life().await?,
            }
        }
    }

    /// Waits while as much waits for readers as may, with no place in the ring, which would keep what is told there. Whoever
    /// waits too long is cut, and sooner if something of its own is what fills the room.
    async fn wait_for_others(&self) -> Result<(), End> {
        let (events, since) = (&self.app.events, Instant::now());
        let max = events.limits.stalled_max;
        while events.is_full() {
            let has_taken_all = self.room.available_permits() == FRAMES_BYTES as usize;
            if since.elapsed() >= if has_taken_all { PATIENCE * max } else { max } {
                return Err(End::Stalled);
            }
            sleep(WAIT_FOR_OTHERS).await;
        }
        Ok(())
    }

    /// Reads from the database what was told before, page by page; few do so at once. False if there is no room for more.
    async fn catch_up(&mut self, until: i64) -> Result<bool, End> {
        let mut told = Instant::now();
        while self.cursor < until {
            let page = {
                let app = self.app.clone();
                let _turn = app.catching_up.acquire().await.map_err(|_| End::Over)?;
                if app.events.is_full() {
                    return Ok(false);
                }
                self.read(until).await.map_err(|error| {
                    tracing::warn!(%error, "a stream of events was ended: what it missed can't be read");
                    End::Broken
                })?
            };
            for frame in page.frames {
                self.tell(&frame).await?;
            }
            self.cursor = page.end;
            // Whoever asks for little hears for long of nothing, and goes on from here if its connection is cut for that.
            if told.elapsed() >= self.app.events.limits.heartbeat {
                self.show_life().await?;
                told = Instant::now();
            }
        }
        Ok(true)
    }

    /// What was forgotten while it was read is missed no less than what was forgotten before.
    async fn read(&mut self, until: i64) -> Result<Page, EventError> {
        let mut conn = self.app.db.read().await?;
        let read = store::read_between(&mut conn, self.cursor, until, self.page).await?;
        let horizon = store::find_bounds(&mut conn).await?.horizon;
        if horizon > self.cursor {
            return Err(EventError::CursorGone);
        }
        let (mut page, mut bytes, mut seen) = (Page { frames: Vec::new(), end: read.end }, 0, 0);
        for event in read.events {
            seen += 1;
            if self.choice.includes(&event) {
                let frame = self.app.events.held.frame(event);
                bytes += frame.bytes.len();
                page.end = frame.event.position;
                page.frames.push(frame);
            }
            if bytes >= PAGE_BYTES {
                self.page = seen;
                return Ok(page);
            }
        }
        self.page = (2 * self.page).min(PAGE);
        page.end = read.end;
        Ok(page)
    }

    async fn tell(&mut self, frame: &Frame) -> Result<(), End> {
        let event = &frame.event;
        if event.position <= self.cursor {
            return Ok(());
        }
        if self.choice.includes(event) {
            self.send(frame.bytes.clone()).await?;
        }
        self.cursor = event.position;
        Ok(())
    }

    async fn show_life(&self) -> Result<(), End> {
        self.send(format!(": still here\nid: {}\n\n", self.cursor).into()).await
    }

    async fn send(&self, frame: Bytes) -> Result<(), End> {
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX).min(FRAMES_BYTES);
        let sent = async {
            let room = self.room.clone().acquire_many_owned(bytes).await.map_err(|_| End::Over)?;
            let waiting = Bytes::from_owner(Waiting { frame, _room: room });
            self.frames.send(waiting).await.map_err(|_| End::Over)
        };
        timeout(self.app.events.limits.stalled_max, sent).await.unwrap_or(Err(End::Stalled))
    }
}
