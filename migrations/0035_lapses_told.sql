-- Whoever follows events is told that a claim or a session lapsed, and that it came back.

ALTER TABLE racks
    -- The newest claim, as long as it has not ended otherwise: it is told of as held, or as lapsed.
    ADD COLUMN claim_told bigint,
    ADD COLUMN lapse_told boolean NOT NULL DEFAULT false;

CREATE INDEX racks_with_a_claim_that_is_told_of ON racks (rack_id) WHERE claim_told IS NOT NULL;

ALTER TABLE count_sessions ADD COLUMN lapse_told boolean NOT NULL DEFAULT false;

-- What lapsed before this is not told.
UPDATE count_sessions SET lapse_told = true WHERE last_seen_at < clock_timestamp() - interval '1 hour';

CREATE INDEX sessions_that_may_lapse ON count_sessions (lapse_told, last_seen_at) WHERE NOT is_over;
