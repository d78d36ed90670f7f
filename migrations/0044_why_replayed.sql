-- Why an entry of the inbox was carried out again, as it is kept of deliveries that are sent again.
ALTER TABLE webhook_replays
    ADD COLUMN reason text CONSTRAINT inbox_replay_has_a_bounded_reason CHECK (char_length(reason) BETWEEN 1 AND 255);
