-- What posting a session came to, a line an item: with the movements it made, or why it made none. A line that agrees
-- is kept like any other, for it is the evidence that somebody looked.
CREATE TABLE count_lines (
    session_id         text        NOT NULL CONSTRAINT line_belongs_to_a_session REFERENCES count_sessions,
    variant_id         uuid        NOT NULL CONSTRAINT line_is_of_a_variant REFERENCES variants,
    records            bigint      NOT NULL,
    counted_qty        bigint      NOT NULL CONSTRAINT counted_quantity_is_not_negative CHECK (counted_qty >= 0),
    damage_qty         bigint      NOT NULL CONSTRAINT damaged_quantity_is_not_negative CHECK (damage_qty >= 0),
    -- Between which movements it was counted, and what moved after.
    first_version      bigint      NOT NULL,
    last_version       bigint      NOT NULL,
    moved_since        bigint      NOT NULL,
    expected_qty       bigint      NOT NULL,
    outcome            text        NOT NULL CONSTRAINT line_outcome_is_known
                       CHECK (outcome IN ('posted', 'rejected', 'recount', 'over_limit')),
    reason             text        CONSTRAINT line_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 255),
    -- Sold since it was counted, beyond what was counted.
    shortfall          bigint      NOT NULL DEFAULT 0 CONSTRAINT shortfall_is_not_negative CHECK (shortfall >= 0),
    previous_quantity  bigint      NOT NULL,
    new_quantity       bigint      NOT NULL,
    movement_id        uuid,
    damage_movement_id uuid,
    posted_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT item_is_posted_once PRIMARY KEY (session_id, variant_id),
    CONSTRAINT posted_line_has_its_movement CHECK ((outcome = 'posted') = (movement_id IS NOT NULL))
);

CREATE TRIGGER count_lines_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON count_lines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
