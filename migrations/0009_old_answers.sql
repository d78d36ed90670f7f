-- Answers are kept for a time only; this is how those are found whose time is over.
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (first_seen);
