-- The request that did it, as `traceparent` names it: what follows from it later is told in the same trace. None where
-- nothing is traced. Checked from now on: whoever came before has none, and no table is read for it.
ALTER TABLE orders ADD COLUMN traceparent text;
ALTER TABLE orders ADD CONSTRAINT order_traceparent_is_one CHECK (char_length(traceparent) = 55) NOT VALID;
ALTER TABLE events ADD COLUMN traceparent text;
ALTER TABLE events ADD CONSTRAINT event_traceparent_is_one CHECK (char_length(traceparent) = 55) NOT VALID;
ALTER TABLE webhook_deliveries ADD COLUMN traceparent text;
ALTER TABLE webhook_deliveries ADD CONSTRAINT delivery_traceparent_is_one
    CHECK (char_length(traceparent) = 55) NOT VALID;

-- Who had deliveries sent again, which, and why: it explains what a receiver was told twice, so it is kept for ever, whatever
-- becomes of the endpoint and of the deliveries.
CREATE TABLE delivery_replays (
    replay_id   uuid        PRIMARY KEY,
    endpoint_id uuid        NOT NULL,
    delivery_id uuid,
    state       text,
    found_from  timestamptz,
    found_to    timestamptz,
    replayed    bigint      NOT NULL CONSTRAINT replayed_is_a_number_of_deliveries CHECK (replayed >= 0),
    reason      text        CONSTRAINT replay_has_a_bounded_reason CHECK (char_length(reason) BETWEEN 1 AND 255),
    subject     text        NOT NULL,
    request_id  text        NOT NULL,
    replayed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TRIGGER delivery_replays_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON delivery_replays
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
