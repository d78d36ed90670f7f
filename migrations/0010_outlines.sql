-- What the first request with a key said, in outline: the names of its fields, and sixteen bits of a hash in place of
-- every value (src/idempotency/outline.rs). It tells a caller who uses the key for another request in which fields the
-- two differ. None was kept before this migration, and a key without one refuses as well, only with fewer words.
ALTER TABLE idempotency_keys ADD COLUMN outline text
    CONSTRAINT outline_is_bounded CHECK (octet_length(outline) <= 16384);
