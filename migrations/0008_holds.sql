-- Stock that is kept for somebody while they pay.

-- `held` lasts until `expires_at` by this server's clock, whoever looks and whatever has been tidied up: from that
-- moment on what it held counts as available, though `stock.held` and `open` say so only once somebody wrote it down.
CREATE TABLE holds (
    hold_id      uuid        PRIMARY KEY,
    user_id      text        NOT NULL CONSTRAINT hold_user_is_bounded CHECK (char_length(user_id) BETWEEN 1 AND 64),
    state        text        NOT NULL DEFAULT 'held' CONSTRAINT hold_state_is_known
                 CHECK (state IN ('held', 'captured', 'released', 'expired')),
    currency     text        NOT NULL CONSTRAINT hold_currency_is_a_code CHECK (currency ~ '^[A-Z]{3}$'),
    total        numeric     NOT NULL CONSTRAINT hold_total_is_a_sum CHECK (total >= 0 AND total < 1e28),
    expires_at   timestamptz NOT NULL,
    -- The order it became.
    order_id     uuid        CONSTRAINT order_captures_one_hold UNIQUE REFERENCES orders,
    subject      text        NOT NULL,
    request_id   text        NOT NULL,
    lock_mode    text        NOT NULL CONSTRAINT hold_lock_mode_is_known
                 CHECK (lock_mode IN ('two_layer', 'database_only')),
    lock_wait_ms integer     NOT NULL,
    held_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at  timestamptz,
    CONSTRAINT captured_hold_has_its_order CHECK ((state = 'captured') = (order_id IS NOT NULL)),
    CONSTRAINT resolved_hold_says_when CHECK ((state = 'held') = (resolved_at IS NULL))
) WITH (fillfactor = 90);

CREATE INDEX holds_of_a_user ON holds (user_id, hold_id DESC);
CREATE INDEX live_holds_of_a_user ON holds (user_id, expires_at) WHERE state = 'held';
CREATE INDEX live_holds_by_their_end ON holds (expires_at) WHERE state = 'held';

-- `open` while the line's quantity is part of `stock.held`. Changed only under the lock of the stock row, as is
-- `expires_at`, which repeats the hold's so that a level is read without a join.
CREATE TABLE hold_lines (
    hold_id    uuid        NOT NULL CONSTRAINT hold_line_has_a_hold REFERENCES holds,
    line_id    uuid        NOT NULL,
    position   integer     NOT NULL,
    variant_id uuid        NOT NULL CONSTRAINT hold_line_has_stock REFERENCES stock,
    sku        text        NOT NULL,
    quantity   bigint      NOT NULL CONSTRAINT held_quantity_is_positive CHECK (quantity >= 1),
    unit_price numeric     NOT NULL,
    line_total numeric     NOT NULL CONSTRAINT hold_line_total_is_the_product CHECK (line_total = unit_price * quantity),
    expires_at timestamptz NOT NULL,
    open       boolean     NOT NULL DEFAULT true,
    CONSTRAINT hold_line_is_unique PRIMARY KEY (hold_id, line_id)
) WITH (fillfactor = 90);

CREATE INDEX open_hold_lines_of_a_variant ON hold_lines (variant_id, expires_at) WHERE open;
