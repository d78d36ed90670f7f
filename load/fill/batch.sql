-- Variants :first to :last of a run, each with its stock row and :each movements, in one transaction.
\set QUIET on
BEGIN;

-- Ids as the service makes them: a time first, so that the newest are beside each other.
CREATE FUNCTION pg_temp.variant(run text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(1700000000000 + number), 12, '0') || '7' || substr(mark, 1, 3) || '8' || substr(mark, 4, 15))::uuid
    FROM md5(run || '-' || number) AS mark
$$;
-- A movement, and what is there after it: it begins with 10000, every second movement takes 2 to 10, and those between give back
-- half as much. A thousand movements leave three quarters of it.
CREATE FUNCTION pg_temp.step(number bigint, version bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN version = 1 THEN 10000 WHEN version % 2 = 0 THEN -2 * (1 + number % 5) ELSE 1 + number % 5 END
$$;
CREATE FUNCTION pg_temp.level(number bigint, version bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT 10000 - 2 * (1 + number % 5) * (version / 2) + (1 + number % 5) * ((version - 1) / 2)
$$;

INSERT INTO variants (variant_id, sku, name, price, currency)
SELECT pg_temp.variant(:'run', number), :'run' || '-' || number, 'Item ' || number || ' of ' || :'run',
       (100 + number % 10000) / 100.0, 'GBP'
FROM generate_series(:first::bigint, :last::bigint) AS number;

INSERT INTO stock (variant_id, on_hand, version)
SELECT pg_temp.variant(:'run', number), pg_temp.level(number, :each), :each
FROM generate_series(:first::bigint, :last::bigint) AS number;

INSERT INTO stock_movements (movement_id, variant_id, version, kind, delta, on_hand_after, reason, subject, request_id,
                             lock_mode, lock_wait_ms, created_at)
SELECT gen_random_uuid(), variant_id, version,
       CASE WHEN version = 1 THEN 'adjustment' WHEN version % 2 = 0 THEN 'sale' ELSE 'receipt' END,
       pg_temp.step(number, version), pg_temp.level(number, version), 'fill', 'load', :'run', 'database_only', 0,
       now() - make_interval(secs => :each - version)
FROM (
    -- Each id is worked out once, and not once for each of its movements.
    SELECT number, pg_temp.variant(:'run', number) AS variant_id
    FROM generate_series(:first::bigint, :last::bigint) AS number OFFSET 0
) AS made, generate_series(1, :each::bigint) AS version;

COMMIT;
