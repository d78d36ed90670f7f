//! The calls of counting: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::conflicts::{list, resolve};
use super::imports::Imported;
use super::racks::{claim, complete, import as rack_import, pause, read, register, release, renew, resume};
use super::records::{import as record_import, list as records, sync};
use super::sessions::{
    discard, export, heartbeat, list as all_sessions, open, post as posting, presence, read as session,
    variances,
};
use crate::counts::conflicts::model::Kept;
use crate::counts::racks::model::{Rack, RackChange};
use crate::counts::records::model::Evidence;
use crate::counts::sessions::model::{Lines, Present, Session};
use crate::http::api::document::example_of;
use crate::http::api::{Group, Operation, get, post};
use crate::http::auth::Scope::Warehouse;
use crate::http::csv;
use crate::http::page::Page;
use crate::http::problem::Code::{
    ConflictNotFound, ConflictResolved, LimitExceeded, NotRackOwner, NotSessionOwner, NothingToPost,
    RackElsewhere, RackExists, RackLocked, RackNotFound, RackPaused, SessionExists, SessionNotFound,
    SessionPosted, TooManyBatches,
};

/// Counting, which is served under `/api` too: field devices know its calls without a version.
#[must_use]
pub fn routes() -> Group {
    let about = "Counting the warehouse while the shop goes on selling. Field devices may call these under `/api` too. The \
                 counter is the key's subject.";
    let group = Group::new("Counts", about, &[Warehouse]);
    conflicts(results(sessions(claims(racks(group)))))
}

fn racks(group: Group) -> Group {
    group
        .with(
            post("/racks", "racks.register", register::register)
                .says("Register a rack", "A claim that says its floor does so too.")
                .patient()
                .answers::<Rack>(201, "It is registered.")
                .refuses(&[RackExists])
                .example(json!({"rack_id": example_of("rack_id"), "floor": "1", "name": "Umbrellas"})),
        )
        .with(
            post("/racks/import", "racks.import", rack_import::import)
                .says(
                    "Import racks",
                    "From CSV with the columns `rack_id`, `floor` and perhaps `name`: up to 10,000 rows, each answered by \
                     its line.",
                )
                .patient()
                .answers::<Imported>(200, "What became of each row.")
                .example(json!("rack_id,floor,name\nB-01,1,Umbrellas\nB-02,1,Lanterns\n")),
        )
        .with(
            get("/racks", "racks.list", read::list_racks)
                .says("List racks", "By their id.")
                .answers::<Page<Rack>>(200, "A page of them.")
                .example(json!({"floor": "1"})),
        )
        .with(
            get("/racks/available", "racks.available", read::list_available)
                .says("List racks that can be claimed", "Those that nobody holds and nobody has counted.")
                .answers::<Page<Rack>>(200, "A page of them.")
                .example(json!({"floor": "1"})),
        )
        .with(
            get("/racks/floors", "racks.floors", read::list_floors)
                .says("List floors", "With how many racks are in which state.")
                .answers::<read::Floors>(200, "All floors."),
        )
        .with(
            get("/racks/{rack_id}/status", "racks.status", read::get_status)
                .says("Look at a rack", "")
                .answers::<Rack>(200, "The rack, and who holds it.")
                .refuses(&[RackNotFound]),
        )
}

/// What becomes of a rack while it is counted.
fn claims(group: Group) -> Group {
    group
        .with(
            change(post("/racks/{rack_id}/claim", "racks.claim", claim::claim))
                .says(
                    "Claim a rack",
                    "For a session, which is opened unless one is named. Whoever claims later has a higher fence.",
                )
                .refuses(&[RackLocked, RackElsewhere, NotSessionOwner, SessionPosted])
                .example(json!({"session_id": example_of("session_id"), "ttl_seconds": 120})),
        )
        .with(
            held(post("/racks/{rack_id}/renew", "racks.renew", renew::renew))
                .says("Hold a rack longer", "Though the claim lapsed, if nobody came.")
                .refuses(&[RackPaused]),
        )
        .with(
            held(post("/racks/{rack_id}/pause", "racks.pause", pause::pause))
                .says("Pause a count", "The rack stays the session's for longer.")
                .refuses(&[RackPaused]),
        )
        .with(
            held(post("/racks/{rack_id}/resume", "racks.resume", resume::resume))
                .says("Go on with a count", ""),
        )
        .with(
            held(post("/racks/{rack_id}/complete", "racks.complete", complete::complete))
                .says("Say that a rack is counted", "And let it go. It may be claimed to be counted again."),
        )
        .with(
            held(post("/racks/{rack_id}/release", "racks.release", release::release))
                .says("Let a rack go", "Without saying that it is counted."),
        )
}

/// A change of a rack's claim.
fn change(operation: Operation) -> Operation {
    operation.patient().answers::<RackChange>(200, "What it is now.").refuses(&[RackNotFound])
}

/// One that only its holder can make, who is named in the body or the query.
fn held(operation: Operation) -> Operation {
    change(operation).refuses(&[NotRackOwner]).example(json!({"session_id": example_of("session_id")}))
}

fn sessions(group: Group) -> Group {
    group
        .with(
            post("/sessions", "sessions.open", open::open)
                .says(
                    "Open a session",
                    "By an id that a device made, or blind: its counter does not see what is expected.",
                )
                .patient()
                .answers::<Session>(201, "It is open.")
                .refuses(&[SessionExists])
                .example(json!({"session_id": example_of("session_id"), "blind": false})),
        )
        .with(
            get("/sessions", "sessions.list", all_sessions::list_sessions)
                .says("List sessions", "Newest first, at most 100 a page.")
                .answers::<Page<Session>>(200, "A page of them.")
                .example(json!({"state": "open"})),
        )
        .with(
            get("/sessions/{session_id}/records", "sessions.records", records::list_records)
                .says(
                    "List the records of a session",
                    "All, or those of an item: the evidence behind a variance.",
                )
                .answers::<Page<Evidence>>(200, "A page of them.")
                .refuses(&[SessionNotFound])
                .example(json!({"item_code": "15056BL"})),
        )
        .with(
            get("/sessions/{session_id}", "sessions.get", session::get_session)
                .says("Look at a session", "")
                .answers::<Session>(200, "The session.")
                .refuses(&[SessionNotFound]),
        )
        .with(
            post("/sessions/{session_id}/heartbeat", "sessions.heartbeat", heartbeat::heartbeat)
                .says(
                    "Say that a session lives",
                    "It renews its rack too, that of its last claim unless one is named.",
                )
                .ignores_key()
                .answers::<heartbeat::Told>(200, "It was heard.")
                .refuses(&[SessionNotFound, NotSessionOwner, SessionPosted])
                .example(json!({"rack_id": example_of("rack_id")})),
        )
        .with(
            post("/sync/heartbeat", "sync.heartbeat", heartbeat::sync_heartbeat)
                .says("Say that a session lives", "As field devices say it.")
                .ignores_key()
                .answers::<heartbeat::Told>(200, "It was heard.")
                .refuses(&[SessionNotFound, NotSessionOwner, SessionPosted])
                .example(json!({"session_id": example_of("session_id"), "rack_id": example_of("rack_id")})),
        )
}

/// Who counts, what was counted, and how a session ends.
fn results(group: Group) -> Group {
    group
        .with(
            get("/presence", "sessions.presence", presence::presence)
                .says("Ask who is active", "Of whom something came within the last 90 seconds.")
                .answers::<Page<Present>>(200, "They are."),
        )
        .with(
            get("/sessions/{session_id}/variances", "sessions.variances", variances::variances)
                .says("Look at what posting a session would mean", "Or meant, once it is posted.")
                .answers::<Lines>(200, "What was counted of each item, and what was expected.")
                .refuses(&[SessionNotFound, SessionPosted]),
        )
        .with(
            get("/sessions/{session_id}/export", "sessions.export", export::export)
                .says("Export a session", "What its variances show, as a file.")
                .answers_as::<String>(200, "A file of CSV.", csv::MEDIA_TYPE)
                .refuses(&[SessionNotFound, SessionPosted]),
        )
        .with(
            post("/sessions/{session_id}/discard", "sessions.discard", discard::discard)
                .at("tablet-3-spare")
                .says("Give a session up", "Nothing enters it any more, and nothing of it is posted.")
                .patient()
                .answers::<Session>(200, "The session, given up.")
                .refuses(&[SessionNotFound, SessionPosted])
                .example(json!({"reason": "the wrong warehouse"})),
        )
        .with(
            post("/sessions/{session_id}/post", "sessions.post", posting::post)
                .says(
                    "Post a session",
                    "Sets stock to what was counted and what moved since. To post twice is the same answer; a posting \
                     that broke off goes on.",
                )
                .guarded()
                .answers::<Lines>(200, "What became of each item: the first 1,000 lines, the others are variances.")
                .refuses(&[SessionNotFound, SessionPosted, NothingToPost, LimitExceeded])
                .example(json!({"reason": "yearly count", "recount_over": 50})),
        )
}

fn conflicts(group: Group) -> Group {
    group
        .with(
            post("/sync/batch", "sync.batch", sync::sync)
                .says(
                    "Send records",
                    "Each is kept, in conflict or in error by itself. To send one again changes nothing. A user may send \
                     10 batches a minute.",
                )
                .patient()
                .answers::<sync::Synced>(200, "What became of each record.")
                .refuses(&[TooManyBatches])
                .example(json!({"batch_id": "tablet-3/17", "records": [{
                    "client_record_id": "tablet-3/1", "session_id": example_of("session_id"), "item_code": "15056BL",
                    "verified_qty": 7, "damage_qty": 1,
                    "created_at": "2026-03-31T10:00:00Z", "updated_at": "2026-03-31T10:00:00Z",
                }]})),
        )
        .with(
            post("/sync/import", "sync.import", record_import::import)
                .says(
                    "Import counts",
                    "From CSV with the columns `item_code`, `verified_qty` and perhaps those of a record's other fields: a \
                     batch, each of whose rows is answered by its line. When it was counted is said by each row, or for all \
                     by the query.",
                )
                .patient()
                .answers::<Imported>(200, "What became of each row.")
                .refuses(&[TooManyBatches])
                .example(json!(format!(
                    "item_code,verified_qty,session_id,counted_at\n15056BL,3,{},2026-01-02T10:00:00Z\n", example_of("session_id")
                ))),
        )
        .with(
            get("/sync/conflicts", "conflicts.list", list::list_conflicts)
                .says("List conflicts", "Those that nobody has resolved, unless others are asked for.")
                .answers::<Page<Kept>>(200, "A page of them.")
                .example(json!({"session_id": example_of("session_id"), "state": "open"})),
        )
        .with(
            post("/sync/conflicts/{conflict_id}/resolve", "conflicts.resolve", resolve::resolve)
                .says("Resolve a conflict", "`merged` is what to keep: needed for `merge`, and for nothing else.")
                .patient()
                .answers::<Kept>(200, "The conflict, resolved.")
                .refuses(&[ConflictNotFound, ConflictResolved, SessionPosted])
                .example(json!({"resolution": "merge", "merged": {"damage_qty": 0}, "reason": "counted again"})),
        )
        .with(
            post("/sync/conflicts/auto-resolve", "conflicts.auto_resolve", resolve::auto_resolve)
                .says("Resolve conflicts by a policy", "Those that need a person are left. 100 at once; `next_cursor` goes on.")
                .answers::<resolve::AutoResolved>(200, "Which were resolved, and which were not.")
                .example(json!({"strategy": "newest_wins", "session_id": example_of("session_id")})),
        )
}
