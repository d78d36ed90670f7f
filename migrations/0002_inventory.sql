-- What is sold, how many there are, and every change that made it so.

CREATE TABLE variants (
    variant_id uuid        PRIMARY KEY,
    sku        text        NOT NULL CONSTRAINT sku_is_taken_once UNIQUE
                           CONSTRAINT sku_is_bounded CHECK (char_length(sku) BETWEEN 1 AND 64),
    name       text        NOT NULL CONSTRAINT name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 255),
    -- Postgres holds that 'NaN' >= 0, so the upper bound is what keeps NaN and Infinity out.
    price      numeric     NOT NULL CONSTRAINT price_is_a_price CHECK (price >= 0 AND price < 10000000000000),
    currency   text        NOT NULL CONSTRAINT currency_is_a_code CHECK (currency ~ '^[A-Z]{3}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row a variant: the row every decision locks. Updates touch no indexed column and the pages keep
-- room, so a busy item's versions stay on its page (heap-only tuples).
CREATE TABLE stock (
    variant_id uuid        PRIMARY KEY CONSTRAINT stock_has_a_variant REFERENCES variants,
    on_hand    bigint      NOT NULL CONSTRAINT on_hand_stays_in_range CHECK (on_hand BETWEEN 0 AND 9000000000000),
    held       bigint      NOT NULL DEFAULT 0 CONSTRAINT held_is_not_negative CHECK (held >= 0),
    version    bigint      NOT NULL CONSTRAINT stock_version_is_not_negative CHECK (version >= 0),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);

-- The ledger. `version` counts a variant's movements without a gap, so a balance, its history and a
-- client's own log can be checked against each other. No foreign keys: the writer holds the stock row's
-- lock when it inserts, rows of `stock` are never deleted (see the trigger below), and a key check a row
-- would double the cost of a long order.
CREATE TABLE stock_movements (
    movement_id   uuid        NOT NULL,
    variant_id    uuid        NOT NULL,
    version       bigint      NOT NULL CONSTRAINT movement_version_starts_at_one CHECK (version >= 1),
    kind          text        NOT NULL CONSTRAINT movement_kind_is_known
                  CHECK (kind IN ('adjustment', 'sale', 'return', 'count', 'receipt')),
    delta         bigint      NOT NULL,
    on_hand_after bigint      NOT NULL CONSTRAINT movement_leaves_stock_in_range
                  CHECK (on_hand_after BETWEEN 0 AND 9000000000000),
    reason        text        CONSTRAINT movement_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 255),
    reference     text        CONSTRAINT movement_reference_is_bounded CHECK (char_length(reference) BETWEEN 1 AND 255),
    -- The order this movement belongs to, and the order line (a sale) or cancellation (a return) it does.
    order_id      uuid,
    source_id     uuid,
    -- Who asked, and under which lock: evidence, kept for ever.
    subject       text        NOT NULL,
    request_id    text        NOT NULL,
    lock_mode     text        NOT NULL CONSTRAINT movement_lock_mode_is_known
                  CHECK (lock_mode IN ('two_layer', 'database_only')),
    lock_wait_ms  integer     NOT NULL CONSTRAINT movement_wait_is_not_negative CHECK (lock_wait_ms >= 0),
    -- The time of the write, not of the transaction's begin: it is taken under the row lock, so along a
    -- variant's versions it never runs backwards.
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT movement_version_is_used_once PRIMARY KEY (variant_id, version)
);

-- The third net under cancellations: one return a cancellation line, whatever the code believes.
CREATE UNIQUE INDEX cancellation_returns_stock_once ON stock_movements (source_id)
    WHERE kind = 'return' AND source_id IS NOT NULL;

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: history is append-only', TG_OP, TG_TABLE_NAME
        USING HINT = 'Correct a mistake with a new movement.';
END $$;

-- Statement triggers: they cost an insert nothing.
CREATE TRIGGER movements_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_movements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
CREATE TRIGGER stock_rows_are_kept BEFORE DELETE OR TRUNCATE ON stock
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
