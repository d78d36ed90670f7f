-- The request that did it, as `traceparent` names it: what follows from it later is told in the same trace. None where
-- nothing is traced. Checked from now on: whoever came before has none, and no table is read for it.
ALTER TABLE orders ADD COLUMN traceparent text;
ALTER TABLE orders ADD CONSTRAINT order_traceparent_is_one CHECK (char_length(traceparent) = 55) NOT VALID;
ALTER TABLE events ADD COLUMN traceparent text;
ALTER TABLE events ADD CONSTRAINT event_traceparent_is_one CHECK (char_length(traceparent) = 55) NOT VALID;
ALTER TABLE webhook_deliveries ADD COLUMN traceparent text;
ALTER TABLE webhook_deliveries ADD CONSTRAINT delivery_traceparent_is_one
    CHECK (char_length(traceparent) = 55) NOT VALID;
