-- Who may call, and which requests have been answered already.

-- A key is shown once, when it is made; only its SHA-256 is kept. Keys carry 244 random bits, so a
-- plain hash is as good as a slow one and can be looked up by index.
CREATE TABLE api_keys (
    key_id     uuid        PRIMARY KEY,
    name       text        NOT NULL CONSTRAINT key_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 255),
    subject    text        NOT NULL CONSTRAINT key_subject_is_bounded CHECK (char_length(subject) BETWEEN 1 AND 64),
    scopes     text[]      NOT NULL CONSTRAINT key_scopes_are_known
               CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['storefront', 'warehouse', 'finance', 'operator']),
    key_hash   bytea       NOT NULL CONSTRAINT key_hash_is_unique UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- One row a (scope, key): the claim and, in the same transaction, the answer. A row is committed only
-- together with the effect it answers for, so a crash leaves no claim behind and nothing has to expire
-- for a retry to work.
CREATE TABLE idempotency_keys (
    scope        text        NOT NULL,
    key          text        NOT NULL CONSTRAINT idempotency_key_is_bounded CHECK (char_length(key) BETWEEN 1 AND 255),
    request_hash bytea       NOT NULL,
    status       smallint,
    body         bytea,
    first_seen   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_key_is_claimed_once PRIMARY KEY (scope, key),
    CONSTRAINT answer_is_whole CHECK ((status IS NULL) = (body IS NULL))
) WITH (fillfactor = 80);
