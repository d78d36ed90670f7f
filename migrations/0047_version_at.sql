-- Which movement of an item was its newest at a time, however many came since: movements are numbered without a gap, in the
-- order of their times. It steps back from the newest, twice as far each time, and then halves what is left.
CREATE FUNCTION version_at(variant uuid, moment timestamptz, newest bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    -- After the moment, as far as is known.
    later bigint := newest + 1;
    -- Not after it, once the first loop ends.
    earlier bigint := newest;
    step bigint := 1;
    middle bigint;
BEGIN
    WHILE earlier > 0 AND NOT coalesce((
        SELECT created_at <= moment FROM stock_movements WHERE variant_id = variant AND version = earlier), false)
    LOOP
        later := earlier;
        earlier := greatest(earlier - step, 0);
        step := 2 * step;
    END LOOP;
    WHILE later - earlier > 1 LOOP
        middle := (earlier + later) / 2;
        IF coalesce((
            SELECT created_at <= moment FROM stock_movements WHERE variant_id = variant AND version = middle), false)
        THEN earlier := middle;
        ELSE later := middle;
        END IF;
    END LOOP;
    RETURN earlier;
END $$;
COMMENT ON FUNCTION version_at IS 'The newest movement of an item at a time; 0 before its first.';

ALTER TABLE count_records
    ADD COLUMN latest_version bigint CONSTRAINT latest_version_is_later CHECK (latest_version > counted_version);
COMMENT ON COLUMN count_records.latest_version IS 'The item''s newest movement when it was counted at the latest, if its device''s clock was behind: what it was then is in doubt.';
