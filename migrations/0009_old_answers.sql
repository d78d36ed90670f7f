-- Answers are kept for a time only; this is how those are found whose time is over. Making it stops keyed writes
-- meanwhile: where there are millions of answers, make it before, CONCURRENTLY, under this name.
CREATE INDEX IF NOT EXISTS idempotency_keys_by_age ON idempotency_keys (first_seen);
