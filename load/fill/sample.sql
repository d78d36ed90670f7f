-- Some thousand invoices, the same for the same seed, one a line.
SELECT json_build_object('account_id', account_id, 'vendor_name', vendor_name, 'invoice_number', invoice_number,
                         'invoice_date', invoice_date, 'total', total, 'currency', currency,
                         'lines', (SELECT json_agg(json_build_object('description', description, 'quantity', quantity,
                                                                     'unit_price', trim_scale(unit_price)::text))
                                   FROM invoice_lines l WHERE l.invoice_id = i.invoice_id))
FROM (SELECT * FROM invoices ORDER BY md5(invoice_id::text || ':seed') LIMIT 5000) AS i;
