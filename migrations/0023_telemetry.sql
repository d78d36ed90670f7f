-- What waits for somebody is counted whenever operators look, so it is found without reading the rest.
CREATE INDEX flagged_invoices ON invoices (invoice_id) WHERE state = 'flagged';
