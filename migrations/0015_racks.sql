-- Racks of the warehouse, the sessions that count them, and every claim of the one by the other.

-- Who holds a rack is said by the lease `rack:lock:{rack_id}`, and by nothing here. What stands here of the newest claim
-- counts only while that claim does.
CREATE TABLE racks (
    rack_id       text        PRIMARY KEY CONSTRAINT rack_id_is_bounded CHECK (char_length(rack_id) BETWEEN 1 AND 64),
    floor         text        NOT NULL CONSTRAINT rack_floor_is_bounded CHECK (char_length(floor) BETWEEN 1 AND 64),
    name          text        CONSTRAINT rack_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 255),
    -- For how long the newest claim is renewed each time.
    ttl_seconds   integer     NOT NULL DEFAULT 60 CONSTRAINT rack_ttl_is_bounded CHECK (ttl_seconds BETWEEN 1 AND 3600),
    paused_at     timestamptz,
    completed_at  timestamptz,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT rack_is_not_paused_and_completed CHECK (paused_at IS NULL OR completed_at IS NULL)
);

CREATE INDEX racks_of_a_floor ON racks (floor, rack_id);

-- One device's work: what it counts belongs together and is posted at once. Its time is over an hour after it was last
-- heard of, which is found out by whoever looks; it goes on when its device comes back.
CREATE TABLE count_sessions (
    session_id   text        PRIMARY KEY
                 CONSTRAINT session_id_is_bounded CHECK (char_length(session_id) BETWEEN 1 AND 64),
    -- Whose keys may use it.
    user_id      text        NOT NULL CONSTRAINT session_user_is_bounded CHECK (char_length(user_id) BETWEEN 1 AND 64),
    -- A blind session doesn't show its counter what is expected.
    blind        boolean     NOT NULL DEFAULT false,
    -- The rack it claimed last.
    rack_id      text        CONSTRAINT session_rack_is_registered REFERENCES racks,
    opened_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- From then on no record enters it, and these decisions hold, whoever goes on with a posting that broke off.
    posting_at   timestamptz,
    decisions    jsonb,
    posted_at    timestamptz,
    posted_by    text,
    CONSTRAINT posted_session_was_being_posted CHECK (posted_at IS NULL OR posting_at IS NOT NULL),
    CONSTRAINT posting_session_has_its_decisions CHECK ((posting_at IS NULL) = (decisions IS NULL)),
    CONSTRAINT posted_session_says_by_whom CHECK ((posted_at IS NULL) = (posted_by IS NULL))
) WITH (fillfactor = 80);

CREATE INDEX sessions_by_when_they_were_seen ON count_sessions (last_seen_at DESC);

-- Every claim that was granted: which sessions ever held a rack, and under which fence.
CREATE TABLE rack_claims (
    rack_id    text        NOT NULL CONSTRAINT claim_is_of_a_rack REFERENCES racks,
    fence      bigint      NOT NULL,
    session_id text        NOT NULL CONSTRAINT claim_is_by_a_session REFERENCES count_sessions,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT rack_fence_is_granted_once PRIMARY KEY (rack_id, fence)
);

CREATE INDEX rack_claims_of_a_session ON rack_claims (session_id, rack_id, fence DESC);

CREATE TRIGGER rack_claims_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rack_claims
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
