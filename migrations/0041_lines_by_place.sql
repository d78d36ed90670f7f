-- Invoices of suppliers: which lines two of them share is told by their places, and one more of others' rules can be had.

-- Whether line_keys and amount_keys stand in the order of the lines. Those from before stand in their own.
ALTER TABLE invoices ADD COLUMN lines_in_order boolean NOT NULL DEFAULT false;

ALTER TABLE invoice_policies DROP CONSTRAINT policy_rules_are_known,
    ADD CONSTRAINT policy_rules_are_known CHECK (rules IN ('holdfast', 'source', 'odoo', 'erpnext', 'expensein'));
