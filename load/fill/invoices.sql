-- Invoices :first to :last of a run, in one transaction: half of all are one large account's, the others fifty smaller
-- ones'. A vendor bills fifty times in two years; two vendors of five bill the same each time, at a fortnight's distance, a
-- quarter of these one of eight fees, and the others any amount on any day. Some count on for ever, most begin anew each
-- January; other customers get the numbers in between.
\set QUIET on
BEGIN;

CREATE FUNCTION pg_temp.chance(what text, number bigint, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || substr(md5(what || number), 1, 12))::bit(48)::bigint % below
$$;
CREATE FUNCTION pg_temp.word(what text, number bigint, length int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT substr(translate(md5(what || number), '0123456789abcdef', 'aeioubdfgklmnprs'), 1, length)
$$;
-- As the service hashes a line.
CREATE FUNCTION pg_temp.hashed(line text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || encode(substr(sha256(convert_to(line, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
$$;

CREATE TEMPORARY TABLE made ON COMMIT DROP AS
WITH placed AS (
    SELECT number, number % 2 = 0 AS is_large, number / 2 AS k,
           CASE WHEN number % 2 = 0 THEN number / 2 % 10000 ELSE number / 2 / 50 % 200 END AS v,
           CASE WHEN number % 2 = 0 THEN number / 2 / 10000 ELSE number / 2 / 50 / 200 END AS nth
    FROM generate_series(:first::bigint, :last::bigint) AS number
), dated AS (
    SELECT *, :'run' || CASE WHEN is_large THEN '-large' ELSE '-' || k % 50 END AS account_id,
           pg_temp.word('vendor', v, 7) || ' ' || pg_temp.word('trade', v / 7, 8) AS vendor_key,
           v % 5 < 2 AS is_recurring, v / 5 % 4 AS numbering, nth / 25 % 2 AS later, nth % 25 AS nth_of_year,
           1 + pg_temp.chance('first', v, 20) + nth % 25 * (1 + v % 37) AS counted
    FROM placed
), billed AS (
    SELECT *, date '2024-01-01' + 366 * later::int + least(359, (pg_temp.chance('start', v, 14)
               + nth_of_year * 146 / 10 + CASE WHEN is_recurring THEN 0 ELSE pg_temp.chance('day', number, 14) END))::int
               AS day,
           CASE WHEN is_recurring AND v % 4 = 0 THEN (ARRAY[1900, 2900, 4900, 9900, 25000, 49900, 80000, 120000])[1 + v / 20 % 8]
                WHEN is_recurring THEN 500 + pg_temp.chance('fee', v, 300000)
                ELSE 500 + pg_temp.chance('cents', number, 300000) END AS cents,
           CASE WHEN is_recurring THEN 1 ELSE 1 + pg_temp.chance('units', number, 9) END AS quantity
    FROM dated
)
SELECT gen_random_uuid() AS line_id, *,
       (lpad(to_hex(1700000000000 + number), 12, '0') || '7' || substr(md5(:'run' || number), 1, 3) || '8'
           || substr(md5(:'run' || number), 4, 15))::uuid AS invoice_id,
       CASE numbering WHEN 0 THEN 'INV-' || 10000 + v % 90 * 977 + counted + 1000 * later WHEN 1 THEN (2024 + later) || '/' || lpad(counted::text, 4, '0')
            WHEN 2 THEN 'RE-' || (2024 + later) || '-' || counted ELSE counted::text END AS invoice_number,
       CASE numbering WHEN 0 THEN 'INV' || 10000 + v % 90 * 977 + counted + 1000 * later WHEN 1 THEN (2024 + later) || '-' || counted
            WHEN 2 THEN 'RE' || (2024 + later) || '-' || counted ELSE counted::text END AS number_key
FROM billed;

INSERT INTO invoices (invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency, vendor_key,
                      vendor_form, number_key, number_year, line_keys, amount_keys, state, verdict, subject, request_id,
                      lock_mode, lock_wait_ms, uploaded_at)
SELECT invoice_id, account_id, initcap(vendor_key) || ' Ltd', invoice_number, day, round(cents * quantity / 100.0, 2), 'EUR', vendor_key,
       'ltd', number_key, extract(year FROM day)::smallint,
       ARRAY[pg_temp.hashed('|servicefee|' || quantity || '|' || trim_scale(cents / 100.0))],
       ARRAY[pg_temp.hashed(quantity || '|' || trim_scale(cents / 100.0))],
       'accepted', 'new', 'load', :'run', 'database_only', 0, day + interval '3 days'
FROM made;

INSERT INTO invoice_lines (invoice_id, line_id, position, description, quantity, unit_price)
SELECT invoice_id, line_id, 1, 'Service fee', quantity, cents / 100.0 FROM made;

COMMIT;
