-- What operators did by hand.

-- A lock that an operator took away from its holder: who, why, and whose it was (a hash of the holder's token, as
-- `GET /locks/status` shows it). Written with the deletion, never changed.
CREATE TABLE lock_releases (
    release_id  uuid        PRIMARY KEY,
    key         text        NOT NULL CONSTRAINT released_key_is_bounded CHECK (char_length(key) BETWEEN 1 AND 512),
    owner       text        NOT NULL,
    reason      text        NOT NULL CONSTRAINT release_has_a_reason CHECK (char_length(reason) BETWEEN 1 AND 255),
    subject     text        NOT NULL,
    request_id  text        NOT NULL,
    released_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TRIGGER lock_releases_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lock_releases
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
