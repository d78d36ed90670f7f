-- Fails on a server that does not wait for its disk: what it does is no limit to compare with.
DO $$
BEGIN
    IF current_setting('fsync') <> 'on' OR current_setting('synchronous_commit') = 'off' THEN
        RAISE EXCEPTION 'fsync is %, synchronous_commit is %',
            current_setting('fsync'), current_setting('synchronous_commit');
    END IF;
END
$$;
