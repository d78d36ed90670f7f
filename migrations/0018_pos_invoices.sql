-- Invoices of tills: one row a name, and every accepted edit for ever.

CREATE TABLE pos_invoices (
    name         text        NOT NULL CONSTRAINT pos_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 255),
    -- Counts the accepted edits: the newest is the invoice.
    version      bigint      NOT NULL CONSTRAINT pos_version_starts_at_one CHECK (version >= 1),
    state        text        NOT NULL CONSTRAINT pos_state_is_known CHECK (state IN ('draft', 'submitted', 'returned')),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    submitted_at timestamptz,
    returned_at  timestamptz,
    CONSTRAINT pos_name_is_taken_once PRIMARY KEY (name),
    CONSTRAINT pos_times_go_with_the_state CHECK (
        (submitted_at IS NOT NULL) = (state IN ('submitted', 'returned'))
        AND (returned_at IS NOT NULL) = (state = 'returned'))
) WITH (fillfactor = 80);

-- The history. An edit's time is taken under the invoice's lock, so along its versions it never runs backwards.
CREATE TABLE pos_invoice_versions (
    name         text        NOT NULL,
    version      bigint      NOT NULL,
    customer     text        CONSTRAINT pos_customer_is_bounded CHECK (char_length(customer) BETWEEN 1 AND 255),
    currency     text        NOT NULL CONSTRAINT pos_currency_is_a_code CHECK (currency ~ '^[A-Z]{3}$'),
    total        numeric     NOT NULL CONSTRAINT pos_total_is_a_sum CHECK (total >= 0 AND total < 1e28),
    subject      text        NOT NULL,
    request_id   text        NOT NULL,
    lock_mode    text        NOT NULL CONSTRAINT pos_lock_mode_is_known
                 CHECK (lock_mode IN ('two_layer', 'database_only')),
    lock_wait_ms integer     NOT NULL CONSTRAINT pos_wait_is_not_negative CHECK (lock_wait_ms >= 0),
    saved_at     timestamptz NOT NULL,
    CONSTRAINT pos_version_is_used_once PRIMARY KEY (name, version),
    CONSTRAINT pos_version_has_an_invoice FOREIGN KEY (name) REFERENCES pos_invoices
);

CREATE TABLE pos_invoice_items (
    item_id    uuid    NOT NULL,
    name       text    NOT NULL,
    version    bigint  NOT NULL,
    position   integer NOT NULL,
    variant_id uuid    NOT NULL CONSTRAINT pos_item_has_a_variant REFERENCES variants,
    sku        text    NOT NULL,
    quantity   bigint  NOT NULL CONSTRAINT pos_quantity_is_positive CHECK (quantity BETWEEN 1 AND 1000000000),
    unit_price numeric NOT NULL CONSTRAINT pos_price_is_a_price CHECK (unit_price >= 0 AND unit_price < 10000000000000),
    CONSTRAINT pos_item_is_unique PRIMARY KEY (name, version, position),
    CONSTRAINT pos_item_has_a_version FOREIGN KEY (name, version) REFERENCES pos_invoice_versions
);

CREATE TRIGGER pos_versions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pos_invoice_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
CREATE TRIGGER pos_items_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pos_invoice_items
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
