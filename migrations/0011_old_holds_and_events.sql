-- What is kept for a time only, and how it is found when that is over. Making these stops the writes of their tables
-- meanwhile: where there are millions, make them before, CONCURRENTLY, under these names.

-- Holds that came to nothing. Those that were captured are kept, as their orders are.
CREATE INDEX IF NOT EXISTS holds_that_came_to_nothing_by_age ON holds (resolved_at)
    WHERE state IN ('released', 'expired');

-- Events that were carried out. Those that were refused wait for somebody to do something about them.
CREATE INDEX IF NOT EXISTS settled_entries_by_age ON webhook_inbox (received_at, entry_id) WHERE state <> 'refused';
