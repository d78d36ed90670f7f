-- What was counted, as devices sent it, and what a person must look at.

CREATE TABLE count_records (
    session_id       text        NOT NULL CONSTRAINT record_belongs_to_a_session REFERENCES count_sessions,
    client_record_id text        NOT NULL
                     CONSTRAINT record_id_is_bounded CHECK (char_length(client_record_id) BETWEEN 1 AND 128),
    variant_id       uuid        NOT NULL CONSTRAINT record_is_of_a_variant REFERENCES variants,
    rack_id          text,
    floor            text,
    verified_qty     bigint      NOT NULL
                     CONSTRAINT verified_quantity_is_in_range CHECK (verified_qty BETWEEN 0 AND 1000000000),
    damage_qty       bigint      NOT NULL CONSTRAINT damaged_are_among_the_verified CHECK (damage_qty BETWEEN 0 AND verified_qty),
    serial_numbers   jsonb       NOT NULL,
    status           text        NOT NULL CONSTRAINT record_status_is_known CHECK (status IN ('finalized', 'draft')),
    -- The claim under which it was committed, if its rack was claimed.
    lease_name       text,
    fence            bigint,
    -- When it was counted, and the item's newest movement of then: what came after it is added when it is posted.
    counted_at       timestamptz NOT NULL,
    counted_version  bigint      NOT NULL CONSTRAINT counted_version_is_not_negative CHECK (counted_version >= 0),
    -- The device's own time, by which of two versions of a record the later is known.
    updated_at       timestamptz NOT NULL,
    sent             jsonb       NOT NULL,
    synced_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT record_is_counted_once PRIMARY KEY (session_id, client_record_id),
    CONSTRAINT fence_names_its_lease CHECK ((fence IS NULL) = (lease_name IS NULL))
);

CREATE INDEX records_of_a_session_by_item ON count_records (session_id, variant_id);

CREATE TRIGGER records_are_written_under_the_newest_fence BEFORE INSERT OR UPDATE OF fence ON count_records
    FOR EACH ROW WHEN (NEW.fence IS NOT NULL) EXECUTE FUNCTION refuse_old_fence();

-- A serial number is in one place. It stays with its record until some time after that was posted, and may then be
-- counted anew.
CREATE TABLE count_serials (
    serial_number    text        NOT NULL
                     CONSTRAINT serial_number_is_bounded CHECK (char_length(serial_number) BETWEEN 1 AND 128),
    -- Null only inside the transaction that looks who has it.
    session_id       text,
    client_record_id text,
    free_from        timestamptz,
    CONSTRAINT serial_number_is_in_one_place PRIMARY KEY (serial_number),
    CONSTRAINT serial_number_has_a_record FOREIGN KEY (session_id, client_record_id) REFERENCES count_records
);

CREATE INDEX serials_of_a_record ON count_serials (session_id, client_record_id);

-- What could not be taken as it was sent. Nothing of it is lost: `local` is the record, `server` what stood against it.
CREATE TABLE count_conflicts (
    conflict_id      uuid        PRIMARY KEY,
    session_id       text        NOT NULL CONSTRAINT conflict_belongs_to_a_session REFERENCES count_sessions,
    client_record_id text        NOT NULL,
    conflict_type    text        NOT NULL CONSTRAINT conflict_type_is_known CHECK (conflict_type IN
                     ('duplicate_serial', 'invalid_quantity', 'rack_locked', 'lease_lost', 'stale_record')),
    message          text        NOT NULL,
    details          jsonb       NOT NULL,
    local            jsonb       NOT NULL,
    server           jsonb,
    updated_at       timestamptz NOT NULL,
    detected_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolution       text        CONSTRAINT resolution_is_known
                     CHECK (resolution IN ('accept_server', 'accept_local', 'merge', 'ignore')),
    merged           jsonb,
    -- Who resolved it, by which rule if by one, and why.
    resolved_by      text,
    policy           text        CONSTRAINT policy_is_known
                     CHECK (policy IN ('server_wins', 'local_wins', 'newest_wins', 'synced_later')),
    reason           text,
    resolved_at      timestamptz,
    CONSTRAINT conflict_is_told_once UNIQUE (session_id, client_record_id, updated_at, conflict_type),
    CONSTRAINT resolution_is_whole CHECK ((resolution IS NULL) = (resolved_at IS NULL)
                                      AND (resolution IS NULL) = (resolved_by IS NULL)),
    CONSTRAINT merge_has_its_result CHECK ((resolution = 'merge') = (merged IS NOT NULL))
);

CREATE INDEX open_conflicts ON count_conflicts (conflict_id) WHERE resolution IS NULL;

-- How many batches a user sent in the minute that began then.
CREATE TABLE sync_minutes (
    user_id  text        PRIMARY KEY,
    began_at timestamptz NOT NULL,
    batches  integer     NOT NULL CONSTRAINT batches_are_counted CHECK (batches >= 1)
) WITH (fillfactor = 70);
