//! One reader of the database a process, however many listen: it reads what has become certain and tells all of them.
//!
//! What must stay true:
//! - Told is what lies below the oldest transaction that may still write, in the order of positions, each event once.
//! - Who joins learns, in one moment, up to where was told before and hears all that is told after.
//! - Nobody is waited for: what is told stands in a ring that is bounded in events and in bytes, and whoever falls behind it
//!   reads the database from where it was.
//! - No look at the database lasts longer than the database itself would let it: then the session is given up for another.
//! - If nobody listens nothing is read. Whoever only wants to know how far it is [watches](Relay::watch): then it looks as
//!   often, and reads as little.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

use super::Limits;
use super::fences::{Fence, Fences};
use super::frames::{Frame, Held};
use super::metrics::EventMetrics;
use super::model::Event;
use super::store;
use crate::app::App;
use crate::db::{DbError, give_up_after};
use crate::telemetry::trace::{Kind, Tracer};

/// Pause between two looks while somebody listens. A notice by Postgres would cost every commit a lock that all share.
const LOOK: Duration = Duration::from_millis(40);
/// Pause while nobody does: only the lag is kept up.
const IDLE: Duration = Duration::from_secs(1);
/// Pause before a database that broke off is tried again.
const AWAY: Duration = Duration::from_secs(1);
/// How many events stand in the ring at most.
const RING: usize = 4_096;
/// How many of each sort are read at once.
const PAGE: i64 = 500;

/// What listeners hear.
#[derive(Debug, Clone)]
pub enum Told {
    /// The next event.
    Event(Arc<Frame>),
    /// The relay went to another place without telling what lies between.
    Moved,
}

/// What is told, and how far.
#[derive(Debug)]
pub struct Relay {
    ring: broadcast::Sender<Told>,
    place: Mutex<Place>,
    /// Up to where nobody writes any more, for those who watch.
    settled: watch::Sender<i64>,
    joined: Notify,
    /// To where the database fell back when it last had lost what was told.
    lost: watch::Sender<i64>,
    /// Whether this process does what one of all replicas does.
    role: watch::Sender<bool>,
    /// What waits for readers.
    pub held: Held,
    /// What bounds it.
    pub limits: Limits,
    /// What is counted.
    pub metrics: EventMetrics,
}

#[derive(Debug)]
struct Place {
    /// Up to where it was told, or nobody was there to hear it; none before it is known where to begin.
    at: Option<i64>,
    /// Since when what is waited for has been waited for; if nothing is, when that was seen.
    caught_up: Instant,
}

impl Default for Relay {
    fn default() -> Self {
        let place = Place { at: None, caught_up: Instant::now() };
        Self {
            ring: broadcast::Sender::new(RING),
            place: Mutex::new(place),
            settled: watch::Sender::new(0),
            joined: Notify::new(),
            lost: watch::Sender::new(i64::MAX),
            role: watch::Sender::new(false),
            held: Held::default(),
            limits: Limits::default(),
            metrics: EventMetrics::default(),
        }
    }
}

impl Relay {
    /// Ears for all that is told from now on, and the position up to which was told before.
    #[must_use]
    pub fn join(&self) -> (broadcast::Receiver<Told>, i64) {
        let place = self.place();
        let heard = self.ring.subscribe();
        self.joined.notify_one();
        (heard, place.at.unwrap_or_default())
    }

    /// Up to where nobody writes any more, as it moves. While somebody has this, it is looked for often.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<i64> {
        let watching = self.settled.subscribe();
        self.joined.notify_one();
        watching
    }

    /// To where the database fell back, each time it has lost what was told. Whoever joins after that sees it.
    #[must_use]
    pub fn losses(&self) -> watch::Receiver<i64> {
        self.lost.subscribe()
    }

    /// Up to where nobody writes any more and was told; none before that is known.
    #[must_use]
    pub fn at(&self) -> Option<i64> {
        self.place().at
    }

    /// How long the stream has waited for transactions that last, or for the database.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.place().caught_up.elapsed()
    }

    /// Whether this process has the role that one of all replicas has: a lock of the relay's session, which ends with it.
    #[must_use]
    pub fn role(&self) -> watch::Receiver<bool> {
        self.role.subscribe()
    }

    /// Whether as much waits for readers as may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held.bytes() > self.limits.held_max
    }

    /// What the database says to one statement, or that it says nothing.
    async fn ask<T>(&self, asked: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
        give_up_after(self.limits.look_max, asked).await.flatten()
    }

    /// The same of several statements in a row.
    ///
    /// # Errors
    /// Theirs, or [`DbError::Unavailable`].
    pub async fn ask_for_page<T>(
        &self,
        asked: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        give_up_after(self.limits.page_max, asked).await.flatten()
    }

    fn has_listeners(&self) -> bool {
        self.ring.receiver_count() > 0
    }

    fn has_watchers(&self) -> bool {
        self.settled.receiver_count() > 0
    }

    fn tell(&self, event: Event) {
        let mut place = self.place();
        place.at = Some(event.position);
        self.metrics.told.inc();
        let told = if self.is_full() { Told::Moved } else { Told::Event(Arc::new(self.held.frame(event))) };
        // Fails when nobody listens.
        let _heard = self.ring.send(told);
    }

    fn move_to(&self, at: i64) {
        let mut place = self.place();
        place.at = Some(at);
        let _heard = self.ring.send(Told::Moved);
        self.settled.send_replace(at);
    }

    /// All up to there was told.
    fn come_to(&self, at: i64) {
        self.place().at = Some(at);
        self.settled.send_replace(at);
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Relays until the service stops.
pub async fn keep(app: Arc<App>) {
    let working = async {
        loop {
            let ended = follow(&app).await;
            app.events.role.send_replace(false);
            if let Err(error) = ended {
                tracing::warn!(%error, "events can't be read now; the stream goes on when the database is there");
            }
            tokio::time::sleep(AWAY).await;
        }
    };
    // Nothing it does is half done when it ends: it only reads.
    app.stopping.run_until_cancelled(working).await;
}

/// Follows what is written over one session, until that breaks off.
async fn follow(app: &App) -> Result<(), DbError> {
    let relay = &app.events;
    let mut conn = app.db.session("holdfast relay").await?;
    let mut fences = Fences::default();
    let mut read = relay.ask(start(relay, &mut conn)).await?;
    let mut asked = None;
    loop {
        if !*relay.role.borrow() && asked.is_none_or(|asked: Instant| asked.elapsed() >= IDLE) {
            asked = Some(Instant::now());
            if relay.ask(store::take_role(&mut conn)).await? {
                relay.role.send_replace(true);
            }
        }
        let joined = relay.joined.notified();
        read = look(&app.tracer, relay, &mut conn, &mut fences, read).await?;
        let pause = if relay.has_listeners() || relay.has_watchers() { LOOK } else { IDLE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = joined => {}
        }
    }
}

/// Where a new session goes on: where the last one was, unless the database has lost that.
async fn start(relay: &Relay, conn: &mut PgConnection) -> Result<Option<i64>, DbError> {
    let drawn = store::find_bounds(conn).await?.drawn;
    let at = relay.place().at;
    if at.is_some_and(|at| at > drawn) {
        tracing::error!(
            at,
            drawn,
            "the database has lost events that were told: whoever was told of them has to begin anew"
        );
        // First: whoever hears of the move looks here.
        relay.lost.send_replace(drawn);
        relay.move_to(drawn);
    }
    Ok(at.map(|at| at.min(drawn)))
}

/// Looks once how far nobody writes any more, and tells up to there. Gives how far it has come.
async fn look(
    tracer: &Tracer,
    relay: &Relay,
    conn: &mut PgConnection,
    fences: &mut Fences,
    read: Option<i64>,
) -> Result<Option<i64>, DbError> {
    let known = fences.newest().or(read).unwrap_or_default();
    let drawn = relay.ask(store::look_in(conn, if fences.has_room() { known } else { i64::MAX })).await?;
    if let Some(fence) = drawn.fence {
        fences.add(Fence { drawn: drawn.position, fence, written: drawn.written, since: Instant::now() });
    }
    let past = if fences.is_waiting() { Some(relay.ask(store::find_past(conn)).await?) } else { None };
    let settled = past.and_then(|past| fences.settle(past.oldest_running, past.flushed));
    relay.place().caught_up = fences.oldest().unwrap_or_else(Instant::now);
    let Some(until) = settled else { return Ok(read) };
    // Where there is no place to go on from, listeners have their own.
    let mut read = read.unwrap_or(until);
    if read == until || !relay.has_listeners() {
        relay.move_to(until);
        return Ok(Some(until));
    }
    while read < until {
        let mut told = tracer.background(None, Kind::Internal, "events.relay");
        let page = relay.ask_for_page(store::read_between(conn, read, until, PAGE)).await?;
        told.note("events.count", page.events.len());
        for event in page.events {
            relay.tell(event);
            tokio::task::consume_budget().await;
        }
        read = page.end;
    }
    // Also where what was drawn last was never written.
    relay.come_to(read);
    Ok(Some(read))
}
