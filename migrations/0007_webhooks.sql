-- Cancellations that others send: what came, what came of it, and those that came before their order.

-- A cancellation of an order that is not there yet, by the key it will be placed with. The order is then born
-- cancelled and takes no stock: it has no sale, no cancellation and no return, and this row says why. Placing and
-- cancelling meet at the claim of (user, key), so a row is here only if no order was before it.
CREATE TABLE early_cancellations (
    user_id         text        NOT NULL CONSTRAINT early_user_is_bounded CHECK (char_length(user_id) BETWEEN 1 AND 64),
    idempotency_key text        NOT NULL
                    CONSTRAINT early_key_is_bounded CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
    reason          text        CONSTRAINT early_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 255),
    subject         text        NOT NULL,
    request_id      text        NOT NULL,
    came_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT order_is_cancelled_early_once PRIMARY KEY (user_id, idempotency_key)
);

CREATE TRIGGER early_cancellations_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON early_cancellations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

-- One row an event, committed in the transaction that carries it out. A row comes as 'refused' and is settled by what
-- is done; so one that is still 'refused' had no effect, and may be tried again.
CREATE TABLE webhook_inbox (
    entry_id        uuid        PRIMARY KEY,
    -- How it was signed: each way of signing has ids of its own.
    scheme          text        NOT NULL CONSTRAINT inbox_scheme_is_known CHECK (scheme IN ('standard', 'stripe')),
    event_id        text        NOT NULL CONSTRAINT event_id_is_bounded CHECK (char_length(event_id) BETWEEN 1 AND 255),
    -- SHA-256 of what the event says, and what it says.
    fingerprint     bytea       NOT NULL,
    data            jsonb       NOT NULL,
    state           text        NOT NULL DEFAULT 'refused' CONSTRAINT inbox_state_is_known
                    CHECK (state IN ('refused', 'cancelled', 'already_cancelled', 'waiting_for_order')),
    order_id        uuid,
    -- The key of the order it waits for.
    user_id         text,
    idempotency_key text,
    lock_mode       text        NOT NULL CONSTRAINT inbox_lock_mode_is_known
                    CHECK (lock_mode IN ('two_layer', 'database_only')),
    lock_wait_ms    integer     NOT NULL,
    request_id      text        NOT NULL,
    received_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT event_is_received_once UNIQUE (scheme, event_id),
    CONSTRAINT settled_entry_names_its_order CHECK (CASE state
        WHEN 'refused' THEN true
        WHEN 'waiting_for_order' THEN user_id IS NOT NULL AND idempotency_key IS NOT NULL
        ELSE order_id IS NOT NULL END)
) WITH (fillfactor = 80);

CREATE INDEX refused_entries ON webhook_inbox (entry_id) WHERE state = 'refused';

-- Which entries operators ran again, and who did.
CREATE TABLE webhook_replays (
    replay_id   uuid        PRIMARY KEY,
    entry_id    uuid        NOT NULL,
    subject     text        NOT NULL,
    request_id  text        NOT NULL,
    replayed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TRIGGER webhook_replays_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON webhook_replays
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

-- Orders of all users are listed by time, newest first, and a range of it long ago must not cost reading all since.
-- Making it stops orders meanwhile: where there are millions, make it before, CONCURRENTLY, under this name.
CREATE INDEX IF NOT EXISTS orders_by_time ON orders (placed_at DESC, order_id DESC);
