-- One invoice by its key, as the fill made it: what a read costs at all.
\set number random(1, :invoices)
SELECT vendor_name, total FROM invoices
WHERE invoice_id >= (lpad(to_hex(1700000000000 + :number), 12, '0') || '70008000000000000000')::uuid
ORDER BY invoice_id LIMIT 1;
