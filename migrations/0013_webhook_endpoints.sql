-- Who is told of events by webhook, and what became of each telling.

CREATE TABLE webhook_endpoints (
    endpoint_id     uuid        PRIMARY KEY,
    url             text        NOT NULL CONSTRAINT endpoint_url_is_bounded CHECK (char_length(url) BETWEEN 1 AND 2048),
    -- Which types of events; none is all.
    types           text[]      NOT NULL,
    -- What deliveries are signed with. After a change both sign for a while.
    secret          text        NOT NULL,
    old_secret      text,
    old_secret_till timestamptz,
    -- Up to which event its deliveries are written.
    position        bigint      NOT NULL,
    -- The breaker: failures in a row, and until when it is left alone.
    failures        integer     NOT NULL DEFAULT 0 CONSTRAINT endpoint_failures_are_not_negative CHECK (failures >= 0),
    paused_until    timestamptz,
    -- It answered 410: nothing is sent to it any more.
    gone_at         timestamptz,
    subject         text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT old_secret_has_its_end CHECK ((old_secret IS NULL) = (old_secret_till IS NULL))
) WITH (fillfactor = 70);

-- One row an event and endpoint. `body` is what is sent, the same however often.
CREATE TABLE webhook_deliveries (
    delivery_id     uuid        PRIMARY KEY,
    endpoint_id     uuid        NOT NULL CONSTRAINT delivery_has_an_endpoint REFERENCES webhook_endpoints ON DELETE CASCADE,
    position        bigint      NOT NULL,
    event_id        uuid        NOT NULL,
    type            text        NOT NULL,
    -- What its event is about: of these deliveries one comes after the other.
    aggregate       text        NOT NULL,
    body            text        NOT NULL,
    state           text        NOT NULL DEFAULT 'pending' CONSTRAINT delivery_state_is_known
                    CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts        integer     NOT NULL DEFAULT 0,
    -- When it is due; while it is under way, when it counts as lost.
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_status     smallint,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at    timestamptz,
    CONSTRAINT event_is_delivered_once UNIQUE (endpoint_id, event_id),
    CONSTRAINT delivered_says_when CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX pending_deliveries ON webhook_deliveries (endpoint_id, position) WHERE state = 'pending';
CREATE INDEX pending_deliveries_of_an_aggregate ON webhook_deliveries (endpoint_id, aggregate, position)
    WHERE state = 'pending';
CREATE INDEX deliveries_by_age ON webhook_deliveries (created_at);
