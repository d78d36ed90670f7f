-- Invoices of suppliers: whether all that is alike was compared stays with each, and a name can be forgotten.

-- Whether all that may be it were looked at when it came in.
ALTER TABLE invoices ADD COLUMN compared_all boolean NOT NULL DEFAULT true;

-- Names that no longer stand for another: vendor_aliases has those that do. Invoices keep the name they bear.
CREATE TABLE forgotten_vendor_names (
    forgotten_id uuid        PRIMARY KEY,
    account_id   text        NOT NULL,
    alias_key    text        NOT NULL,
    -- What it stood for, as who had said when.
    vendor_key   text        NOT NULL,
    learned_from text        NOT NULL,
    learned_at   timestamptz NOT NULL,
    reason       text        NOT NULL CONSTRAINT forgetting_has_a_reason CHECK (char_length(reason) BETWEEN 1 AND 255),
    subject      text        NOT NULL,
    request_id   text        NOT NULL,
    forgotten_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX forgotten_names_of_an_account ON forgotten_vendor_names (account_id, forgotten_at);
CREATE TRIGGER forgotten_names_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON forgotten_vendor_names
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
