-- What came in of a supplier's invoice. Each row has exactly one movement (its `source_id`).
CREATE TABLE invoice_receipts (
    receipt_id  uuid        PRIMARY KEY,
    invoice_id  uuid        NOT NULL,
    line_id     uuid        NOT NULL,
    quantity    bigint      NOT NULL CONSTRAINT received_quantity_is_positive CHECK (quantity >= 1),
    subject     text        NOT NULL,
    request_id  text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT receipt_has_a_line FOREIGN KEY (invoice_id, line_id) REFERENCES invoice_lines
);
CREATE INDEX receipts_of_an_invoice ON invoice_receipts (invoice_id);
CREATE TRIGGER invoice_receipts_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_receipts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

-- The third net: one movement a receipt, whatever the code believes.
CREATE UNIQUE INDEX receipt_moves_stock_once ON stock_movements (source_id)
    WHERE kind = 'receipt' AND source_id IS NOT NULL;
