//! Sessions as callers see them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store::Total;
use crate::http::page::Limit;
use crate::text::{Reason, SessionId, Sku};

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It takes records.
    Open,
    /// It does, and nothing was heard of it for an hour.
    Lapsed,
    /// Its posting has begun.
    Posting,
    /// It is posted.
    Posted,
    /// Somebody gave it up.
    Discarded,
}

impl SessionState {
    /// The state's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Lapsed => "lapsed",
            Self::Posting => "posting",
            Self::Posted => "posted",
            Self::Discarded => "discarded",
        }
    }
}

/// A session.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Session {
    /// Its id.
    pub session_id: String,
    /// Whose it is.
    pub user_id: String,
    /// `open`, `lapsed`, `posting`, `posted` or `discarded`, by the database's clock.
    pub state: String,
    /// Whether its counter is not to see what is expected.
    pub blind: bool,
    /// The rack it claimed last.
    pub rack_id: Option<String>,
    /// Since when.
    pub opened_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_heartbeat_at: DateTime<Utc>,
    /// When it was posted.
    pub posted_at: Option<DateTime<Utc>>,
    /// By whom.
    pub posted_by: Option<String>,
    /// The session under whose name it is posted, be it its own: those of one name are one count.
    pub posted_as: Option<String>,
    /// When it was given up.
    pub discarded_at: Option<DateTime<Utc>>,
    /// Its records that are to be posted, or were.
    pub finalized_records: i64,
    /// Its drafts.
    pub draft_records: i64,
    /// Its conflicts that nobody has resolved.
    pub open_conflicts: i64,
}

/// Somebody who is active.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Present {
    /// The user.
    pub user_id: String,
    /// One of the user's sessions.
    pub session_id: String,
    /// The rack it claimed last.
    pub rack_id: Option<String>,
    /// When it was last heard of.
    pub last_heartbeat_at: DateTime<Utc>,
}

/// What is to become of an item's line when its session is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LineVerdict")]
pub enum Decision {
    /// It is posted, however far it is from what was expected.
    Approve,
    /// It is not posted.
    Reject,
}

/// A decision on a line.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LineDecision {
    /// Whose line.
    pub item_code: Sku,
    /// What becomes of it.
    pub decision: Decision,
    /// Why: the movement's reason.
    pub reason: Option<Reason>,
}

/// How a session is to be posted. Kept with it, so that a posting that broke off goes on as it began.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PostSession")]
pub struct Decisions {
    /// A line that is further than this from what was expected, and not approved, is to be counted again.
    pub recount_over: Option<u32>,
    /// The reason of movements whose line has none of its own.
    pub reason: Option<Reason>,
    /// Decisions on lines.
    #[serde(default)]
    #[schemars(length(max = super::post::DECISIONS_MAX))]
    pub lines: Vec<LineDecision>,
    /// Sessions that are one count with this one: what several devices counted of an item adds up.
    #[serde(default)]
    #[schemars(length(max = super::post::SESSIONS_MAX))]
    pub session_ids: Vec<SessionId>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CountOutcome")]
pub enum Outcome {
    /// Stock was set.
    Posted,
    /// Somebody said no.
    Rejected,
    /// It is to be counted again.
    Recount,
    /// More was counted than may be in stock.
    OverLimit,
}

/// Why an item is to be counted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recount {
    /// It is further from what was expected than its poster wants.
    TooFar,
    /// A count of it that is as new or newer was posted.
    CountedSince,
    /// It was counted in a rack that this count did not look at.
    CountedElsewhere,
    /// Several sessions of this count counted it in one rack or without saying where, or some of its records say where and
    /// others do not.
    CountedTwice,
}

impl Recount {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooFar => "too_far",
            Self::CountedSince => "counted_since",
            Self::CountedElsewhere => "counted_elsewhere",
            Self::CountedTwice => "counted_twice",
        }
    }
}

/// One item of a count: what was counted of it, and what that means. Before it is posted, what it would mean now.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "CountLine")]
pub struct Line {
    /// The item.
    pub variant_id: Uuid,
    /// Its stock keeping unit.
    pub item_code: String,
    /// Records that add up to this.
    pub records: i64,
    /// Units counted, damaged ones among them.
    pub counted_qty: i64,
    /// Damaged units.
    pub damage_qty: i64,
    /// What moved since it was counted.
    pub moved_since: Option<i64>,
    /// What there should have been when it was counted.
    pub expected_qty: Option<i64>,
    /// How far the count is from that.
    pub variance: Option<i64>,
    /// Stock before.
    pub previous_quantity: Option<i64>,
    /// Stock after, damaged units taken out.
    pub new_quantity: Option<i64>,
    /// Units sold since that were not among those counted.
    pub shortfall: i64,
    /// What became of it; nothing yet before it is posted.
    #[schemars(with = "Option<Outcome>")]
    pub outcome: Option<String>,
    /// Why it is to be counted again, or would have to be.
    #[schemars(with = "Option<Recount>")]
    pub recount_because: Option<String>,
    /// Before it is posted: other sessions that counted it in racks that this count did not look at.
    pub also_in: Vec<String>,
    /// Why.
    pub reason: Option<String>,
    /// The movement that set stock to what was counted.
    pub movement_id: Option<Uuid>,
    /// The movement that took the damaged units out.
    pub damage_movement_id: Option<Uuid>,
}

/// A count's lines.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "CountLines")]
pub struct Lines {
    /// The session in whose name it is posted.
    pub session_id: String,
    /// All that are this count.
    pub session_ids: Vec<String>,
    /// Its state.
    pub state: String,
    /// When it was posted.
    pub posted_at: Option<DateTime<Utc>>,
    /// By whom.
    pub posted_by: Option<String>,
    /// Conflicts of these sessions that nobody has resolved.
    pub open_conflicts: i64,
    /// One an item, by the item's id.
    pub lines: Vec<Line>,
    /// Give this as `cursor` for the next page; null where there is none.
    pub next_cursor: Option<Uuid>,
}

impl Lines {
    /// Makes a page of lines of which one more was looked for.
    #[must_use]
    pub(super) fn paged(mut self, limit: Limit) -> Self {
        let more = self.lines.len() > usize::from(limit);
        self.lines.truncate(usize::from(limit));
        self.next_cursor = self.lines.last().filter(|_| more).map(|line| line.variant_id);
        self
    }
}

/// A line about to be written.
#[derive(Debug, Serialize)]
pub(super) struct NewLine {
    pub(super) variant_id: Uuid,
    records: i64,
    counted_qty: i64,
    damage_qty: i64,
    first_version: i64,
    last_version: i64,
    pub(super) moved_since: i64,
    pub(super) expected_qty: i64,
    pub(super) outcome: Outcome,
    pub(super) recount_because: Option<Recount>,
    reason: Option<String>,
    pub(super) shortfall: i64,
    pub(super) previous_quantity: i64,
    pub(super) new_quantity: i64,
    pub(super) movement_id: Option<Uuid>,
    pub(super) damage_movement_id: Option<Uuid>,
    /// Whether a movement of its own takes damaged units out.
    #[serde(skip)]
    pub(super) takes_damaged: bool,
}

impl NewLine {
    /// A line of which nothing is decided yet.
    pub(super) fn of(total: &Total, reason: Option<String>) -> Self {
        Self {
            variant_id: total.variant_id,
            records: total.records,
            counted_qty: total.units,
            damage_qty: total.damaged,
            first_version: total.first_version,
            last_version: total.last_version,
            moved_since: 0,
            expected_qty: total.on_hand,
            outcome: Outcome::OverLimit,
            recount_because: None,
            reason,
            shortfall: 0,
            previous_quantity: total.on_hand,
            new_quantity: total.on_hand,
            movement_id: None,
            damage_movement_id: None,
            takes_damaged: false,
        }
    }
}
