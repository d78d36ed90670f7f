-- Invoices of suppliers: what is looked at is found by index alone, a false verdict has a way out, and what was decided
-- stays.

-- Companies of one name and different forms are not one. Empty where none is told, or the name is known for another's.
ALTER TABLE invoices ADD COLUMN vendor_form text NOT NULL DEFAULT '';

-- What somebody let pass may have a number that is in: the net is under what nobody has looked at.
DROP INDEX invoice_number_is_in_once;
CREATE UNIQUE INDEX invoice_number_is_in_once ON invoices (account_id, number_key, vendor_key, number_year, vendor_form)
    WHERE state = 'accepted';
-- A vendor's number among those it is not under.
CREATE INDEX invoices_not_under_the_net ON invoices (account_id, number_key, vendor_key)
    WHERE state IN ('flagged', 'overridden');
-- Of the same number: of about the same total, or of a day nearby. For lists by number, too.
CREATE INDEX invoices_of_a_number ON invoices (account_id, number_key, total, invoice_date);
-- What waits for somebody, of one account or of all, the last first.
CREATE INDEX flagged_invoices_of_an_account ON invoices (account_id, invoice_id DESC) WHERE state = 'flagged';

-- In a year's time is too late; the rule of the code is the same. Index rows have bounds.
ALTER TABLE invoices DROP CONSTRAINT invoice_date_is_believable,
    ADD CONSTRAINT invoice_date_is_believable CHECK (
        invoice_date >= '1970-01-01' AND invoice_date <= (uploaded_at AT TIME ZONE 'UTC')::date + 364) NOT VALID,
    ADD CONSTRAINT invoice_keys_are_bounded CHECK (
        char_length(vendor_key) <= 255 AND char_length(number_key) <= 255) NOT VALID;

CREATE TRIGGER invoice_matches_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_matches
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

-- Every policy that an account ever had.
CREATE TABLE invoice_policy_changes (
    change_id        uuid        PRIMARY KEY,
    account_id       text        NOT NULL,
    rules            text        NOT NULL,
    on_duplicate     text        NOT NULL,
    threshold        smallint    NOT NULL,
    date_window_days smallint    NOT NULL,
    total_tolerance  numeric     NOT NULL,
    subject          text        NOT NULL,
    request_id       text        NOT NULL,
    changed_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX policy_changes_of_an_account ON invoice_policy_changes (account_id, changed_at);
CREATE TRIGGER invoice_policy_changes_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_policy_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
