-- What an endpoint was not told, for it was away longer than events are kept: it is never passed over in silence.
ALTER TABLE webhook_endpoints
    -- Of what happened after the one position up to the other something may be missing: of the last gap there was.
    ADD COLUMN skipped_from bigint,
    ADD COLUMN skipped_to   bigint,
    ADD COLUMN skipped_at   timestamptz,
    ADD CONSTRAINT skipped_is_a_range CHECK (
        (skipped_from IS NULL AND skipped_to IS NULL AND skipped_at IS NULL)
        OR (skipped_from < skipped_to AND skipped_at IS NOT NULL));

-- A delivery that nobody took for so long as deliveries are kept becomes a dead letter, and is seen as such for as long
-- again. Since when it waits counts, not when its event was found: it may be sent again later.
ALTER TABLE webhook_deliveries ADD COLUMN pending_since timestamptz NOT NULL DEFAULT clock_timestamp();
DROP INDEX deliveries_by_age;
CREATE INDEX pending_deliveries_by_age ON webhook_deliveries (pending_since) WHERE state = 'pending';
CREATE INDEX delivered_by_age ON webhook_deliveries (delivered_at) WHERE state = 'delivered';
-- Of the dead it is when they were given up.
CREATE INDEX dead_by_age ON webhook_deliveries (next_attempt_at) WHERE state = 'dead';

-- What is about nothing in particular has a name too: from thing to thing those are found that can be sent, in the order
-- of their bytes.
UPDATE webhook_deliveries SET aggregate = 'nothing' WHERE aggregate = '';
ALTER TABLE webhook_deliveries ALTER COLUMN aggregate TYPE text COLLATE "C";
ALTER TABLE webhook_deliveries ADD CONSTRAINT delivery_is_about_something CHECK (aggregate <> '');
