//! Takes records, however many, in one transaction and a fixed number of statements: claims held → sessions entered → items,
//! records and serial numbers found → each record judged → all written.
//! Refuses nothing: each record is kept, in conflict or in error by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::model::{Conflict, Fault, Item, Kept, Record, RecordKey, Refusal, said, said_ever};
use super::rules::{self, Own, Serials, Standing, There};
use super::store;
use super::sync::Batch;
use super::times;
use crate::counts::error::CountError;
use crate::counts::racks::store as racks;
use crate::counts::sessions::start_of;
use crate::db::DbError;
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::problem::Problem;
use crate::leases::LeaseName;
use crate::text::{ClientId, RackId};

/// What became of a record.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is kept, or was before; and whether one of its id that counted something else was there.
    Kept { id: String, replaced: bool },
    /// It waits for a person.
    Conflict(Conflict),
    /// It can't be taken.
    Fault(Fault),
    /// It could not even be read.
    Unreadable(Fault),
}

/// What is known of everything that the records of a batch name, while none of it can change.
struct Known {
    now: DateTime<Utc>,
    sessions: HashMap<String, store::Into>,
    claims: HashMap<String, Standing>,
    own: HashMap<(String, String), Own>,
    there: HashMap<RecordKey, There>,
    conflicts: HashMap<RecordKey, Vec<store::Disputed>>,
    serials: Serials,
    is_file: bool,
}

/// A record that could be read, and where it stands.
struct Read<'a> {
    record: Record,
    sent: &'a Value,
    item: Option<Item>,
    /// Whether its rack is registered, where that is asked.
    has_known_rack: bool,
    counted_at: Result<DateTime<Utc>, Refusal>,
}

impl Read<'_> {
    /// The claims that its session had of its rack.
    fn own(&self, all: &HashMap<(String, String), Own>) -> Option<Own> {
        let rack_id = self.record.rack_id.as_ref()?.as_str().to_owned();
        all.get(&(self.record.session_id.as_str().to_owned(), rack_id)).copied()
    }

    /// What can be kept, be it as a conflict.
    fn sound(&self) -> Result<(Item, DateTime<Utc>), Refusal> {
        let item = self.item.ok_or_else(|| Refusal::fault("unknown_item", "no item has this item_code"))?;
        if !self.has_known_rack {
            return Err(Refusal::fault("unknown_rack", "no rack has this rack_id: register it first"));
        }
        Ok((item, self.counted_at.clone()?))
    }
}

/// Takes the records of a batch as they were sent by a counter, who sees no expectations in sessions that this opens if they
/// are blind. Gives what became of each, in their order.
///
/// # Errors
/// [`CountError`]: faults of the whole.
pub(super) async fn take_in_tx<B: Batch>(
    conn: &mut PgConnection,
    counter: (&str, bool),
    batch: &B,
) -> Result<Vec<Taken>, CountError> {
    let (sent, sent_at) = (batch.records(), batch.sent_at());
    let now = store::now(conn).await?;
    let all: Vec<_> = sent.iter().map(|sent| read(sent, now, sent_at)).collect();
    let (mut read, mut unreadable) = (Vec::with_capacity(all.len()), BTreeMap::new());
    for (place, one) in all.into_iter().enumerate() {
        match one {
            Ok(one) => read.push(one),
            Err(fault) => drop(unreadable.insert(place, fault)),
        }
    }
    let mut known = look_up_in_tx(conn, counter, &mut read, (now, sent_at), B::IS_FILE).await?;

    let mut kept: HashMap<RecordKey, (usize, Kept)> = HashMap::new();
    let (mut conflicts, mut against) = (Vec::new(), HashMap::new());
    let mut judged = Vec::with_capacity(read.len());
    for read in &read {
        let (key, id) = (read.record.key(), read.record.client_record_id.as_str().to_owned());
        judged.push(match known.judge(read) {
            Ok(None) => Taken::Kept { id, replaced: false },
            Ok(Some(record)) => {
                let now = There::from(&record);
                let before = known.there.insert(key.clone(), now.clone());
                kept.insert(key, (judged.len(), record));
                Taken::Kept { id, replaced: before.is_some_and(|before| !before.counts_as(&now)) }
            }
            Err(Refusal::Fault { error_type, message }) => {
                Taken::Fault(Fault { client_record_id: Some(id), error_type, message })
            }
            Err(Refusal::Conflict { kind, message, details }) => {
                let is_told = known.is_open(&key, read.sent);
                if let Some(there) = known.there.get(&key) {
                    against.insert(key, there.said.clone());
                }
                let conflict = Conflict { client_record_id: id, conflict_type: kind, message, details };
                if !is_told {
                    conflicts.push((judged.len(), read, conflict.clone()));
                }
                Taken::Conflict(conflict)
            }
        });
    }
    let conflicts: Vec<_> = conflicts
        .iter()
        .map(|(place, read, told)| store::NewConflict {
            record: &read.record,
            sent: read.sent,
            counted_at: read.counted_at.as_ref().ok().copied(),
            told,
            // A later version further on in this batch was kept.
            is_over: kept.get(&read.record.key()).is_some_and(|(since, kept)| {
                since > place && kept.updated_at >= read.record.updated_at.get()
            }),
        })
        .collect();
    let kept: Vec<_> = kept.into_values().map(|(_, kept)| kept).collect();
    store::write_records_in_tx(conn, &kept).await?;
    store::settle_serials_in_tx(conn, &known.serials).await?;
    if known.conflicts.values().flatten().any(|conflict| !conflict.is_resolved) {
        store::close_conflicts_in_tx(conn, &kept, &conflicts, counter.0).await?;
    }
    let opened = store::keep_conflicts_in_tx(conn, &conflicts, &against, counter.0).await?;
    tell_of_progress_in_tx(conn, counter.0, &kept, &opened).await?;
    let mut judged = judged.into_iter();
    let in_order = (0..sent.len()).filter_map(|place| match unreadable.remove(&place) {
        Some(fault) => Some(Taken::Unreadable(fault)),
        None => judged.next(),
    });
    Ok(in_order.collect())
}

/// Tells of each session how many records of it were written, and how many conflicts are new.
async fn tell_of_progress_in_tx(
    conn: &mut PgConnection,
    user_id: &str,
    kept: &[Kept],
    opened: &[String],
) -> Result<(), DbError> {
    let mut sessions: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    kept.iter().for_each(|kept| sessions.entry(&kept.session_id).or_default().0 += 1);
    opened.iter().for_each(|session_id| sessions.entry(session_id).or_default().1 += 1);
    let told = sessions.iter().map(|(session_id, (records, conflicts))| {
        let told = json!({"session_id": session_id, "user_id": user_id, "state": "open", "records": records,
                          "conflicts": conflicts});
        NewEvent::new(EventKind::SessionUpdated, About::SessionNamed(session_id), &told)
    });
    events::append_all_in_tx(conn, &told.collect::<Result<Vec<_>, _>>()?).await
}

/// Reads a record, or says why it can't be.
fn read(sent: &Value, now: DateTime<Utc>, sent_at: Option<DateTime<Utc>>) -> Result<Read<'_>, Fault> {
    let record =
        if sent.is_object() { Record::read(sent) } else { Err(Problem::invalid("", "must be an object")) };
    let record = record.map_err(|problem| {
        let id = sent["client_record_id"].as_str().map(str::to_owned);
        let id = id.and_then(|id| ClientId::try_from(id).ok()).map(String::from);
        Fault { client_record_id: id, error_type: "validation_error", message: problem.detail }
    })?;
    let counted_at = times::counted_at(&record, now, sent_at);
    Ok(Read { record, sent, item: None, has_known_rack: true, counted_at })
}

/// Locks and looks up all that the records name, in the one order of locks.
async fn look_up_in_tx(
    conn: &mut PgConnection,
    counter: (&str, bool),
    read: &mut [Read<'_>],
    (now, sent_at): (DateTime<Utc>, Option<DateTime<Utc>>),
    is_file: bool,
) -> Result<Known, CountError> {
    let distinct = |each: &dyn Fn(&Record) -> Vec<String>| -> Vec<String> {
        let all: BTreeSet<_> = read.iter().flat_map(|read| each(&read.record)).collect();
        all.into_iter().collect()
    };
    let racks = distinct(&|record| record.rack_id.iter().map(|rack| rack.as_str().to_owned()).collect());
    let sessions = distinct(&|record| vec![record.session_id.as_str().to_owned()]);
    let serials = distinct(&|record| record.serial_numbers.iter().cloned().map(String::from).collect());
    let keys: BTreeSet<_> = read.iter().map(|read| read.record.key()).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let leases: Vec<_> =
        racks.iter().filter_map(|rack| RackId::try_from(rack.clone()).ok()?.lease()).collect();

    let mut claims = store::hold_claims_in_tx(conn, &leases).await?;
    if claims.len() < leases.len() {
        let unclaimed = leases.iter().map(LeaseName::as_str).filter(|name| !claims.contains_key(*name));
        racks::keep_unclaimed_in_tx(conn, &unclaimed.collect::<Vec<_>>()).await?;
        // Some of them may have been claimed since.
        claims = store::hold_claims_in_tx(conn, &leases).await?;
    }
    let own = store::find_own_claims(conn, &sessions, &racks).await?;
    for read in read.iter_mut() {
        let own = read.own(&own);
        let counted_at = std::mem::replace(&mut read.counted_at, Ok(now));
        read.counted_at = counted_at.and_then(|at| times::since_claim(&read.record, at, own));
    }
    let skus: Vec<_> = read.iter().map(|read| read.record.item_code.as_str()).collect();
    let at: Vec<_> = read.iter().map(|read| *read.counted_at.as_ref().unwrap_or(&now)).collect();
    let items = store::find_items(conn, &skus, &at, times::behind(now, sent_at)).await?;
    for (read, item) in read.iter_mut().zip(items) {
        read.item = item;
    }
    if is_file {
        let registered = racks::find_registered(conn, &racks).await?;
        for Read { record, has_known_rack, .. } in read.iter_mut() {
            *has_known_rack = record.rack_id.as_ref().is_none_or(|rack| registered.contains(rack.as_str()));
        }
    }
    // A session of which nothing can be kept is not opened.
    let sound: HashSet<_> =
        read.iter().filter(|read| read.sound().is_ok()).map(|read| read.record.session_id.as_str()).collect();
    let may_open: Vec<_> = sessions.iter().map(|session| sound.contains(session.as_str())).collect();
    let entered = store::enter_sessions_in_tx(conn, &sessions, &may_open, counter).await?;
    let started = entered.iter().filter(|(_, session)| session.is_new);
    let started = started.map(|(session_id, _)| start_of(session_id, counter.0));
    events::append_all_in_tx(conn, &started.collect::<Result<Vec<_>, _>>()?).await?;
    let there = store::find_records(conn, &keys).await?;
    let conflicts = store::find_disputed(conn, &keys).await?;
    let serials = store::lock_serials_in_tx(conn, &serials).await?;
    Ok(Known { now, sessions: entered, claims, own, there, conflicts, serials, is_file })
}

impl Known {
    /// Whether this very version is there, or was a conflict that somebody has resolved. Of a file, whose rows mostly say no
    /// times of their own, it is the same if it says the same; but what was decided on holds only as long as nothing else was
    /// said since.
    fn is_known(&self, key: &RecordKey, record: &Record, sent: &Value) -> bool {
        let (there, conflicts) = (self.there.get(key), self.conflicts.get(key));
        let mut resolved = conflicts.into_iter().flatten().filter(|conflict| conflict.is_resolved);
        if self.is_file {
            let ever = said_ever(sent);
            return there.is_some_and(|there| said_ever(&there.said) == ever)
                || resolved.any(|conflict| conflict.is_the_last && said_ever(&conflict.said) == ever);
        }
        let (updated_at, said) = (record.updated_at.get(), said(sent));
        there.is_some_and(|there| there.is(record, &said))
            || resolved.any(|conflict| conflict.updated_at == updated_at && conflict.said == said)
    }

    /// Whether a person has what a row of a file says in the inbox already.
    fn is_open(&self, key: &RecordKey, sent: &Value) -> bool {
        let mut open = self.conflicts.get(key).into_iter().flatten().filter(|conflict| !conflict.is_resolved);
        self.is_file && open.any(|conflict| said_ever(&conflict.said) == said_ever(sent))
    }

    /// What becomes of a record: it is to be written, is there already, or is refused.
    fn judge(&mut self, read: &Read<'_>) -> Result<Option<Kept>, Refusal> {
        let Read { record, sent, .. } = read;
        let key = record.key();
        let Some(session) = self.sessions.get(record.session_id.as_str()) else {
            // It is another's; or it is not there, and nothing is sound that would open it.
            read.sound()?;
            return Err(Refusal::fault("not_session_owner", "the session belongs to another user"));
        };
        if self.is_known(&key, record, sent) {
            return Ok(None);
        }
        if session.is_over {
            return Err(Refusal::fault(
                "session_posted",
                "the session has been posted or discarded: count on in another one",
            ));
        }
        let (item, counted_at) = read.sound()?;
        rules::check_quantities(record)?;
        let lease = record.rack_id.as_ref().and_then(RackId::lease);
        let fence = match (&record.rack_id, &lease) {
            (Some(_), Some(lease)) => {
                let newest = self.claims.get(lease.as_str());
                rules::under_claim(record, counted_at, newest, read.own(&self.own))?
            }
            _ => None,
        };
        let there = self.there.get(&key);
        there.map_or(Ok(()), |there| there.is_replaced_by(record))?;
        let before = there.map(|there| there.serials.clone()).unwrap_or_default();
        let anchor = match there.and_then(|there| there.counted_before(record, item.variant_id)) {
            Some(anchor) => anchor,
            None => times::anchor(record, counted_at, self.now, item)?,
        };
        self.serials.give(record, &before)?;
        Ok(Some(Kept {
            session_id: key.0,
            client_record_id: key.1,
            variant_id: item.variant_id,
            rack_id: record.rack_id.clone().map(String::from),
            floor: record.floor.clone().map(String::from),
            verified_qty: record.verified_qty,
            damage_qty: record.damage_qty,
            serial_numbers: record.serial_numbers.iter().map(|serial| serial.as_str().to_owned()).collect(),
            status: record.status,
            lease_name: fence.and_then(|_| Some(lease?.as_str().to_owned())),
            fence,
            counted_at: anchor.at,
            counted_version: anchor.version,
            latest_version: anchor.latest_version,
            updated_at: record.updated_at.get(),
            sent: (*sent).clone(),
        }))
    }
}
