-- A key is written when its request begins, and once more, with its answer, before that request commits: of an order of three
-- lines some 450 bytes, and then 1,100. Where a page has room for both, the second needs no new entries in the indexes.
ALTER TABLE idempotency_keys SET (fillfactor = 30);
