-- Invoices of suppliers, and what they are compared by.

-- How strict an account is. An account without a row is judged as the defaults of the code say.
CREATE TABLE invoice_policies (
    account_id       text        NOT NULL CONSTRAINT policy_account_is_bounded CHECK (char_length(account_id) BETWEEN 1 AND 128),
    rules            text        NOT NULL CONSTRAINT policy_rules_are_known
                     CHECK (rules IN ('holdfast', 'source', 'odoo', 'erpnext')),
    on_duplicate     text        NOT NULL CONSTRAINT policy_on_duplicate_is_known CHECK (on_duplicate IN ('reject', 'flag')),
    -- Points of 100 from which on another invoice is a near duplicate.
    threshold        smallint    NOT NULL CONSTRAINT policy_threshold_is_bounded CHECK (threshold BETWEEN 1 AND 100),
    date_window_days smallint    NOT NULL CONSTRAINT policy_window_is_bounded CHECK (date_window_days BETWEEN 0 AND 31),
    total_tolerance  numeric     NOT NULL CONSTRAINT policy_tolerance_is_bounded CHECK (total_tolerance BETWEEN 0 AND 1),
    subject          text        NOT NULL,
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT policy_is_one_an_account PRIMARY KEY (account_id)
);

CREATE TABLE invoices (
    invoice_id     uuid        PRIMARY KEY,
    account_id     text        NOT NULL CONSTRAINT invoice_account_is_bounded CHECK (char_length(account_id) BETWEEN 1 AND 128),
    vendor_name    text        NOT NULL CONSTRAINT invoice_vendor_is_bounded CHECK (char_length(vendor_name) BETWEEN 1 AND 255),
    invoice_number text        NOT NULL CONSTRAINT invoice_number_is_bounded CHECK (char_length(invoice_number) BETWEEN 1 AND 255),
    invoice_date   date        NOT NULL,
    total          numeric     NOT NULL CONSTRAINT invoice_total_is_a_total CHECK (total >= 0 AND total < 10000000000000),
    currency       text        NOT NULL CONSTRAINT invoice_currency_is_a_code CHECK (currency ~ '^[A-Z]{3}$'),
    file_hash      text        CONSTRAINT invoice_hash_is_bounded CHECK (char_length(file_hash) BETWEEN 1 AND 128),
    -- Names and numbers as they are compared: one spelling each, and the vendor by the first of its known names.
    vendor_key     text        NOT NULL CONSTRAINT invoice_vendor_key_is_not_empty CHECK (vendor_key <> ''),
    number_key     text        NOT NULL CONSTRAINT invoice_number_key_is_not_empty CHECK (number_key <> ''),
    -- Vendors begin their numbers anew with each year.
    number_year    smallint    NOT NULL,
    -- A number for each line by which lines are compared: with its words, and without.
    line_keys      bigint[]    NOT NULL DEFAULT '{}',
    amount_keys    bigint[]    NOT NULL DEFAULT '{}',
    state          text        NOT NULL CONSTRAINT invoice_state_is_known
                   CHECK (state IN ('accepted', 'flagged', 'overridden', 'voided')),
    verdict        text        NOT NULL CONSTRAINT invoice_verdict_is_known CHECK (verdict IN ('new', 'near')),
    subject        text        NOT NULL,
    request_id     text        NOT NULL,
    lock_mode      text        NOT NULL CONSTRAINT invoice_lock_mode_is_known
                   CHECK (lock_mode IN ('two_layer', 'database_only')),
    lock_wait_ms   integer     NOT NULL CONSTRAINT invoice_wait_is_not_negative CHECK (lock_wait_ms >= 0),
    uploaded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT invoice_date_is_believable CHECK (
        invoice_date >= '1970-01-01' AND invoice_date <= (uploaded_at AT TIME ZONE 'UTC')::date + 366),
    CONSTRAINT only_a_near_one_is_flagged CHECK (verdict = 'near' OR state IN ('accepted', 'voided'))
) WITH (fillfactor = 90);

-- The nets under the verdicts: whatever the code believes, a file and a vendor's number are in once.
CREATE UNIQUE INDEX invoice_file_is_in_once ON invoices (account_id, lower(file_hash))
    WHERE file_hash IS NOT NULL AND state <> 'voided';
CREATE UNIQUE INDEX invoice_number_is_in_once ON invoices (account_id, number_key, vendor_key, number_year)
    WHERE state <> 'voided';
-- Whatever may be near: on the same days, of about the same total.
CREATE INDEX invoices_of_a_day ON invoices (account_id, currency, invoice_date, total) WHERE state <> 'voided';
-- Lists: newest first, of one account or of all, and those of a vendor.
CREATE INDEX invoices_of_an_account ON invoices (account_id, invoice_id DESC);
CREATE INDEX invoices_of_a_vendor ON invoices (account_id, vendor_key, invoice_id DESC);

CREATE TABLE invoice_lines (
    invoice_id        uuid    NOT NULL CONSTRAINT invoice_line_has_an_invoice REFERENCES invoices,
    line_id           uuid    NOT NULL,
    position          integer NOT NULL,
    sku               text    CONSTRAINT invoice_line_sku_is_bounded CHECK (char_length(sku) BETWEEN 1 AND 64),
    description       text    NOT NULL CONSTRAINT invoice_line_description_is_bounded
                      CHECK (char_length(description) BETWEEN 1 AND 1000),
    quantity          bigint  NOT NULL CONSTRAINT invoice_line_quantity_is_positive CHECK (quantity BETWEEN 1 AND 1000000000),
    unit_price        numeric NOT NULL CONSTRAINT invoice_line_price_is_a_price
                      CHECK (unit_price >= 0 AND unit_price < 10000000000000),
    received_quantity bigint  NOT NULL DEFAULT 0,
    CONSTRAINT invoice_line_is_unique PRIMARY KEY (invoice_id, line_id),
    CONSTRAINT received_within_invoiced CHECK (received_quantity BETWEEN 0 AND quantity)
) WITH (fillfactor = 90);

-- What a flagged invoice is near to, and why, as it was judged. It is free once all of these are voided.
CREATE TABLE invoice_matches (
    invoice_id uuid     NOT NULL CONSTRAINT match_has_an_invoice REFERENCES invoices,
    earlier_id uuid     NOT NULL CONSTRAINT match_has_an_earlier_one REFERENCES invoices,
    score      smallint NOT NULL,
    evidence   jsonb    NOT NULL,
    CONSTRAINT match_is_told_once PRIMARY KEY (invoice_id, earlier_id)
);
CREATE INDEX matches_of_an_earlier_one ON invoice_matches (earlier_id);

-- Names of one vendor, as people said when they overrode a verdict. A name stands for another of the same account,
-- which stands for itself.
CREATE TABLE vendor_aliases (
    account_id text        NOT NULL,
    alias_key  text        NOT NULL CONSTRAINT alias_is_not_empty CHECK (alias_key <> ''),
    vendor_key text        NOT NULL CONSTRAINT alias_stands_for_another CHECK (vendor_key <> alias_key),
    subject    text        NOT NULL,
    learned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT alias_stands_for_one_vendor PRIMARY KEY (account_id, alias_key)
);
CREATE INDEX aliases_of_a_vendor ON vendor_aliases (account_id, vendor_key);

-- What people did to a verdict or an invoice, and why.
CREATE TABLE invoice_decisions (
    decision_id uuid        PRIMARY KEY,
    invoice_id  uuid        NOT NULL CONSTRAINT decision_has_an_invoice REFERENCES invoices,
    kind        text        NOT NULL CONSTRAINT decision_kind_is_known CHECK (kind IN ('override', 'void')),
    reason      text        NOT NULL CONSTRAINT decision_has_a_reason CHECK (char_length(reason) BETWEEN 1 AND 255),
    same_vendor boolean,
    subject     text        NOT NULL,
    request_id  text        NOT NULL,
    decided_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT invoice_is_decided_on_once_a_kind UNIQUE (invoice_id, kind)
);
CREATE TRIGGER invoice_decisions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
