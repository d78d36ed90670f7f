-- When the tables that sales write to are cleaned up. The defaults wait until a fifth of a table is dead, which for a few hot
-- rows in a large one is never, and for millions of rows is a long time of reading past the dead.

-- A few rows of it change thousands of times a second: each look at one passes its dead versions until they are cleared.
ALTER TABLE stock SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_limit = 1000
);
-- Each key is written twice, and deleted two days later: by then a tenth of it dead is hundreds of megabytes.
ALTER TABLE idempotency_keys SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 1000);
-- Written once, and again when cancelled: what is dead is little, but so is what it takes to find it in an index.
ALTER TABLE orders SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE order_lines SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
-- Only inserted into: visited for the visibility map, by which its indexes are read alone, and before it must be frozen at once.
ALTER TABLE stock_movements SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
-- A hold lives minutes: nearly all versions of it are dead, and the list of what is due is looked through every few seconds.
ALTER TABLE holds SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE hold_lines SET (autovacuum_vacuum_scale_factor = 0.02);
-- Deleted in bulk from its old end, and read from its new one all the time.
ALTER TABLE events SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
