-- Several sessions may be posted as one count, a session may be given up, and a count that others contradict is not posted.

ALTER TABLE count_sessions
    -- Under which session's name it is posted: its own, or that of the one with which it is posted as one count.
    ADD COLUMN posted_as      text CONSTRAINT session_is_posted_as_a_session REFERENCES count_sessions,
    ADD COLUMN discarded_at   timestamptz,
    ADD COLUMN discarded_by   text,
    ADD COLUMN discard_reason text
               CONSTRAINT discard_reason_is_bounded CHECK (char_length(discard_reason) BETWEEN 1 AND 255),
    -- Nothing enters it any more.
    ADD COLUMN is_over        boolean NOT NULL
               GENERATED ALWAYS AS (posting_at IS NOT NULL OR discarded_at IS NOT NULL) STORED;

UPDATE count_sessions SET posted_as = session_id WHERE posting_at IS NOT NULL;

ALTER TABLE count_sessions
    ADD CONSTRAINT posting_session_has_its_name CHECK ((posting_at IS NULL) = (posted_as IS NULL)),
    ADD CONSTRAINT discarded_session_is_not_posted CHECK (discarded_at IS NULL OR posting_at IS NULL),
    ADD CONSTRAINT discarded_session_says_by_whom CHECK ((discarded_at IS NULL) = (discarded_by IS NULL));

CREATE INDEX sessions_posted_as_one ON count_sessions (posted_as) WHERE posted_as IS NOT NULL;

-- Why an item is to be counted again.
ALTER TABLE count_lines
    ADD COLUMN recount_because text CONSTRAINT recount_reason_is_known
               CHECK (recount_because IN ('too_far', 'counted_since', 'counted_elsewhere', 'counted_twice')),
    ADD CONSTRAINT only_a_recount_says_why CHECK (recount_because IS NULL OR outcome = 'recount');

CREATE INDEX posted_counts_of_an_item ON count_lines (variant_id, last_version) WHERE outcome = 'posted';
CREATE INDEX records_of_an_item ON count_records (variant_id, counted_at) WHERE status = 'finalized';
-- What moved besides counts is what the level changed by, less these.
CREATE INDEX counts_among_movements ON stock_movements (variant_id, version) WHERE kind = 'count';
CREATE INDEX serial_numbers_that_come_free ON count_serials (free_from) WHERE free_from IS NOT NULL;

ALTER TABLE count_conflicts
    -- When its record counts as counted, as was found when it came; unknown for those that came before this.
    ADD COLUMN counted_at timestamptz,
    -- What it says, whatever claim it was sent under: two records of one time that differ are two conflicts.
    ADD COLUMN said_hash  text NOT NULL GENERATED ALWAYS AS (md5((local - 'fence')::text)) STORED,
    DROP CONSTRAINT conflict_is_told_once;
ALTER TABLE count_conflicts
    ADD CONSTRAINT conflict_is_told_once UNIQUE (session_id, client_record_id, updated_at, conflict_type, said_hash);

-- When an operator last took the rack away from its session.
ALTER TABLE racks ADD COLUMN taken_away_at timestamptz;
