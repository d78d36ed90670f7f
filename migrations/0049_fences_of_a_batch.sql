-- The fences of records are checked once for each claim that an insertion names, and not once for each record: a batch of
-- 1,000 records is mostly of few racks. What is inserted under an old fence is undone with its whole statement, as before.
CREATE FUNCTION check_fence(named text, written bigint, of_table text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    newest record;
BEGIN
    SELECT fence, ending INTO newest FROM leases WHERE name = named FOR KEY SHARE;
    IF written < newest.fence THEN
        RAISE EXCEPTION 'fence % of lease % is old', written, named
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fence_is_the_newest', TABLE = of_table,
                  DETAIL = newest.fence::text;
    ELSIF written IS NULL OR newest.fence IS DISTINCT FROM written THEN
        RAISE EXCEPTION 'fence % of lease % was never issued', written, named
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fence_was_issued', TABLE = of_table;
    ELSIF newest.ending IS NOT NULL THEN
        RAISE EXCEPTION 'claim % of lease % has ended', written, named
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fence_has_not_ended', TABLE = of_table,
                  DETAIL = newest.ending;
    END IF;
END $$;
COMMENT ON FUNCTION check_fence IS 'Refuses what is written under a claim that is not the newest of its lease, or has ended, and holds that claim until the transaction ends.';

CREATE OR REPLACE FUNCTION refuse_old_fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_fence(NEW.lease_name, NEW.fence, TG_TABLE_NAME);
    RETURN NEW;
END $$;

CREATE FUNCTION refuse_old_fences() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_fence(lease_name, fence, TG_TABLE_NAME) FROM (
        SELECT DISTINCT lease_name, fence FROM written WHERE fence IS NOT NULL ORDER BY lease_name, fence
    ) AS named;
    RETURN NULL;
END $$;

DROP TRIGGER records_are_written_under_the_newest_fence ON count_records;
CREATE TRIGGER records_are_written_under_the_newest_fence AFTER INSERT ON count_records
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_old_fences();
CREATE TRIGGER records_are_replaced_under_the_newest_fence BEFORE UPDATE OF fence ON count_records
    FOR EACH ROW WHEN (NEW.fence IS NOT NULL) EXECUTE FUNCTION refuse_old_fence();

-- What a session counted is found by its records' key, and what was counted of an item by `records_of_an_item`. Each record
-- was written here once more for nothing; worse, while a table is new, this index looks to the planner as good as the key
-- for finding one record, and all of its session's were read for each.
DROP INDEX records_of_a_session_by_item;
