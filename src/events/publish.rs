//! Courtesy copies: what is told is published on Redis too, for programs that listen there already.
//!
//! What must stay true: one replica publishes, the one that the database let have the [role](super::relay::Relay::role), so
//! each fact is published once; while Redis is away, or nobody has the role, nothing is kept back for later, and nothing
//! waits: whoever must not miss anything reads the stream.

use std::sync::Arc;

use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::model::{Event, EventKind};
use super::relay::Told;
use crate::app::App;
use crate::locks::LockMode;

/// Where all that has no channel of its own is told.
const NOTIFICATIONS: &str = "global:notifications";
/// How many messages go in one call.
const BATCH: usize = 200;

/// Publishes until the service stops.
pub async fn keep(app: Arc<App>) {
    if app.locks.breaker().is_none() {
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
        let (mut told, _) = app.events.join();
        while *role.borrow() {
            let batch = tokio::select! {
                batch = next_batch(&mut told) => batch,
                _ = role.changed() => continue,
            };
            // An open breaker means that Redis is left alone.
            if app.locks.mode() == LockMode::TwoLayer
                && let Err(fault) = app.locks.publish(&batch).await
            {
                tracing::debug!(messages = batch.len(), %fault, "events were not published; they are in the stream");
            }
        }
    }
}

/// Waits for an event and takes what else is there.
async fn next_batch(told: &mut Receiver<Told>) -> Vec<(String, String)> {
    let mut batch = Vec::new();
    let mut heard = told.recv().await;
    loop {
        match heard {
            Ok(Told::Event(event)) => batch.extend(message_of(&event)),
            Ok(Told::Moved) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return batch,
        }
        if batch.len() >= BATCH {
            return batch;
        }
        heard = match told.try_recv() {
            Ok(next) => Ok(next),
            Err(_) => return batch,
        };
    }
}

/// Where an event is published, and how. Changes of mode are published by the replica whose mode it is, as soon as it
/// can.
fn message_of(event: &Event) -> Option<(String, String)> {
    if event.kind == EventKind::LockModeChanged.as_str() {
        return None;
    }
    let data = RawValue::from_string(event.data.clone()).ok()?;
    let (family, verb) = event.kind.split_once('.')?;
    Some(match &event.about {
        Some((what, id)) if what == "variant" => (
            format!("inventory:updates:{id}"),
            json!({"event": event.kind, "variant_id": id, "data": data}).to_string(),
        ),
        Some((what, id)) if what == "rack" && family == "rack" => {
            (format!("rack:updates:{id}"), json!({"event": verb, "rack_id": id, "data": data}).to_string())
        }
        Some((what, id)) if what == "session" => (
            format!("session:updates:{id}"),
            json!({"event": event.kind, "session_id": id, "data": data}).to_string(),
        ),
        _ => (
            NOTIFICATIONS.to_owned(),
            json!({"type": event.kind, "message": sentence(event), "data": data}).to_string(),
        ),
    })
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
    use serde_json::Value;
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
