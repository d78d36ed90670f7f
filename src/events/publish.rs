//! Courtesy copies: what is told is published on Redis too, for programs that listen there already.
//!
//! What must stay true:
//! - One replica publishes, the one that the database let have the [role](super::relay::Relay::role), so each fact is
//!   published once; while Redis is away, or nobody has the role, nothing is kept back for later, and nothing waits: whoever
//!   must not miss anything reads the stream.
//! - While nobody listens, no event is read. Redis is asked each second whether anybody does. Which position was settled is
//!   read *before* Redis is asked; if nobody listens it is remembered, and once somebody does it goes on from there.
//! - So whoever subscribes before a commit hears its copy. Say the commit came after the subscription. If the last answer
//!   "nobody" was given before the subscription, then the remembered position was settled before the commit, and a position
//!   is settled only when every transaction that could write at or below it has ended: so the commit lies beyond it, and is
//!   read once the next answer is "somebody". And no answer after the subscription is "nobody" while it lasts.
//! - What this costs: a subscriber may hear facts of the second or two before it subscribed, and one that stays for less than
//!   the time between two questions may have heard nothing.
//! - In doubt somebody listens: where patterns are subscribed to, where Redis has followers or is a cluster, or does not let
//!   itself be asked. [`Copies`] says otherwise.
//! - A bounded number is read at once, at a bounded pace; what is further behind is left out.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::model::{Event, EventKind};
use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::locks::LockMode;
use crate::locks::audience::Channels;

/// Where all that has no channel of its own is told.
const NOTIFICATIONS: &str = "global:notifications";
/// Everywhere that something is told: see [`message_of`].
const CHANNELS: Channels = Channels { one: NOTIFICATIONS, others: "*:updates:*" };
/// Between two questions whether somebody listens, while nobody does.
const CHECK: Duration = Duration::from_secs(1);
/// For so long it is believed that somebody still does.
const BELIEVED_FOR: Duration = Duration::from_secs(10);
/// Between two looks at what is to be published.
const PACE: Duration = Duration::from_millis(100);
/// How many of each sort are read at once,
const PAGE: i64 = 1_000;
/// and how often in one look.
const PAGES: usize = 4;
/// Whoever is further behind goes on from here: those who listen want to know what is now.
const BEHIND_MAX: i64 = 100_000;

/// When copies are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// While somebody may listen.
    Asked,
    /// Without asking whether somebody does.
    Always,
    /// Not at all.
    Never,
}

/// Publishes until the service stops.
pub async fn keep(app: Arc<App>) {
    if app.locks.breaker().is_none() || app.copies == Copies::Never {
        return;
    }
    app.stopping.run_until_cancelled(publish_all(&app)).await;
}

async fn publish_all(app: &App) {
    let mut role = app.events.role();
    loop {
        if role.wait_for(|is_ours| *is_ours).await.is_err() {
            return;
        }
        // What happened while nobody had the role is not published.
        let mut from = app.events.at();
        while *role.borrow() {
            let before = app.events.at();
            if app.locks.mode() == LockMode::TwoLayer && may_be_heard(app).await {
                from = publish_for_a_while(app, from.or(before)).await;
            } else {
                from = before;
                sleep(CHECK).await;
            }
        }
    }
}

async fn may_be_heard(app: &App) -> bool {
    match app.copies {
        Copies::Asked => app.locks.may_be_heard(CHANNELS).await.unwrap_or_else(|fault| {
            tracing::debug!(%fault, "whether somebody listens on Redis can't be asked: copies are published");
            true
        }),
        Copies::Always => true,
        Copies::Never => false,
    }
}

/// Publishes until it is time to ask again. Gives up to where.
async fn publish_for_a_while(app: &App, mut from: Option<i64>) -> Option<i64> {
    let settled = app.events.watch();
    let (role, since) = (app.events.role(), Instant::now());
    // An open breaker means that Redis is left alone.
    while *role.borrow() && app.locks.mode() == LockMode::TwoLayer {
        let until = *settled.borrow();
        match publish_between(app, from.unwrap_or(until), until).await {
            Ok(end) => from = Some(end),
            Err(error) => {
                tracing::debug!(%error, "events can't be read to be published now; they are in the stream");
            }
        }
        sleep(PACE).await;
        if since.elapsed() >= BELIEVED_FOR {
            break;
        }
    }
    from
}

/// Publishes a few pages, or all there is. Gives up to where.
async fn publish_between(app: &App, from: i64, until: i64) -> Result<i64, DbError> {
    let mut end = from.max(until.saturating_sub(BEHIND_MAX));
    if end > from {
        tracing::warn!(
            positions = end - from,
            "too many events to publish: some were left out; they are in the stream"
        );
    }
    for _ in 0..PAGES {
        if end >= until {
            break;
        }
        let reading = async { store::read_between(&mut *app.db.read().await?, end, until, PAGE).await };
        let page = app.events.ask_for_page(reading).await?;
        let messages: Vec<_> = page.events.iter().filter_map(message_of).collect();
        if let Err(fault) = app.locks.publish(&messages).await {
            tracing::debug!(messages = messages.len(), %fault, "events were not published; they are in the stream");
        }
        end = page.end;
    }
    Ok(end)
}

#[derive(Serialize)]
struct OfVariant<'a> {
    event: &'a str,
    variant_id: &'a str,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct OfRack<'a> {
    event: &'a str,
    rack_id: &'a str,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct OfSession<'a> {
    event: &'a str,
    session_id: &'a str,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct Notification<'a> {
    r#type: &'a str,
    message: String,
    data: &'a RawValue,
}

/// Where an event is published, and how. Changes of mode are published by the replica whose mode it is, as soon as it
/// can.
fn message_of(event: &Event) -> Option<(String, String)> {
    if event.kind == EventKind::LockModeChanged.as_str() {
        return None;
    }
    let data: &RawValue = serde_json::from_str(&event.data).ok()?;
    let (kind, (family, verb)) = (&*event.kind, event.kind.split_once('.')?);
    let (channel, message) = match &event.about {
        Some((what, id)) if what == "variant" => (
            format!("inventory:updates:{id}"),
            serde_json::to_string(&OfVariant { event: kind, variant_id: id, data }),
        ),
        Some((what, id)) if what == "rack" && family == "rack" => {
            (format!("rack:updates:{id}"), serde_json::to_string(&OfRack { event: verb, rack_id: id, data }))
        }
        Some((what, id)) if what == "session" => (
            format!("session:updates:{id}"),
            serde_json::to_string(&OfSession { event: kind, session_id: id, data }),
        ),
        _ => (
            NOTIFICATIONS.to_owned(),
            serde_json::to_string(&Notification { r#type: kind, message: sentence(event), data }),
        ),
    };
    Some((channel, message.ok()?))
}

/// What happened, for people.
fn sentence(event: &Event) -> String {
    let what = event.kind.replace(['.', '_'], " ");
    match &event.about {
        Some((_, id)) => format!("{what}: {id}"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::super::model::Subject;
    use super::*;

    fn published(kind: &'static str, about: Option<(&str, &str)>) -> Option<(String, Value)> {
        let event = Event {
            position: 1,
            event_id: Uuid::nil(),
            kind: kind.into(),
            data: r#"{"a": 1}"#.to_owned(),
            subject: Subject::default(),
            about: about.map(|(what, id)| (what.to_owned(), id.to_owned())),
            traceparent: None,
        };
        message_of(&event).map(|(channel, message)| (channel, serde_json::from_str(&message).unwrap()))
    }

    #[test]
    fn each_event_has_its_channel_and_the_form_that_is_used_there() {
        let data = json!({"a": 1});
        for (kind, about, channel, message) in [
            (
                "stock.changed",
                Some(("variant", "v")),
                "inventory:updates:v",
                json!({"event": "stock.changed", "variant_id": "v", "data": data}),
            ),
            (
                "rack.claimed",
                Some(("rack", "R1")),
                "rack:updates:R1",
                json!({"event": "claimed", "rack_id": "R1", "data": data}),
            ),
            (
                "count.posted",
                Some(("session", "s")),
                "session:updates:s",
                json!({"event": "count.posted", "session_id": "s", "data": data}),
            ),
            (
                "order.placed",
                Some(("order", "o")),
                "global:notifications",
                json!({"type": "order.placed", "message": "order placed: o", "data": data}),
            ),
        ] {
            assert_eq!(published(kind, about), Some((channel.to_owned(), message)));
        }
        assert_eq!(published("lock.mode_changed", None), None);
    }
}
