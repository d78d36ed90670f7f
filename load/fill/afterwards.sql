-- So that the planner knows what is there, and the first measurement does not pay for the fill.
VACUUM (ANALYZE) variants;
VACUUM (ANALYZE) stock;
VACUUM (ANALYZE) stock_movements;
VACUUM (ANALYZE) invoices;
VACUUM (ANALYZE) invoice_lines;
CHECKPOINT;
