-- Orders, their lines, and what was cancelled of them.

CREATE TABLE orders (
    order_id        uuid        PRIMARY KEY,
    user_id         text        NOT NULL CONSTRAINT order_user_is_bounded CHECK (char_length(user_id) BETWEEN 1 AND 64),
    idempotency_key text        NOT NULL,
    request_hash    bytea       NOT NULL,
    status          text        NOT NULL CONSTRAINT order_status_is_known
                    CHECK (status IN ('placed', 'partly_cancelled', 'cancelled')),
    currency        text        NOT NULL CONSTRAINT order_currency_is_a_code CHECK (currency ~ '^[A-Z]{3}$'),
    total           numeric     NOT NULL CONSTRAINT order_total_is_a_sum CHECK (total >= 0 AND total < 1e28),
    metadata        jsonb,
    subject         text        NOT NULL,
    request_id      text        NOT NULL,
    lock_mode       text        NOT NULL CONSTRAINT order_lock_mode_is_known
                    CHECK (lock_mode IN ('two_layer', 'database_only')),
    lock_wait_ms    integer     NOT NULL,
    placed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- For ever, after the stored answer is gone too: a key never makes a second order.
    CONSTRAINT key_places_one_order UNIQUE (user_id, idempotency_key)
) WITH (fillfactor = 90);

-- Lists are by user or over all, newest first; ids are time-ordered (UUID version 7).
CREATE INDEX orders_of_a_user ON orders (user_id, order_id DESC);

CREATE TABLE order_lines (
    order_id           uuid    NOT NULL CONSTRAINT line_has_an_order REFERENCES orders,
    line_id            uuid    NOT NULL,
    position           integer NOT NULL,
    variant_id         uuid    NOT NULL,
    sku                text    NOT NULL,
    quantity           bigint  NOT NULL CONSTRAINT line_quantity_is_positive CHECK (quantity >= 1),
    unit_price         numeric NOT NULL,
    line_total         numeric NOT NULL CONSTRAINT line_total_is_the_product CHECK (line_total = unit_price * quantity),
    cancelled_quantity bigint  NOT NULL DEFAULT 0,
    CONSTRAINT order_line_is_unique PRIMARY KEY (order_id, line_id),
    CONSTRAINT cancelled_within_ordered CHECK (cancelled_quantity BETWEEN 0 AND quantity)
) WITH (fillfactor = 90);

-- What was cancelled, when and why. Each row has exactly one return movement (its `source_id`).
CREATE TABLE order_cancellations (
    cancellation_id uuid        PRIMARY KEY,
    order_id        uuid        NOT NULL,
    line_id         uuid        NOT NULL,
    quantity        bigint      NOT NULL CONSTRAINT cancelled_quantity_is_positive CHECK (quantity >= 1),
    reason          text        CONSTRAINT cancellation_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 255),
    subject         text        NOT NULL,
    request_id      text        NOT NULL,
    cancelled_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT cancellation_has_a_line FOREIGN KEY (order_id, line_id) REFERENCES order_lines
);
CREATE INDEX cancellations_of_an_order ON order_cancellations (order_id);
