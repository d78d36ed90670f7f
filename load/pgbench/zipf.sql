-- One unit of any item, the first far more often than the last: lock its row, take the unit, keep a movement.
\set item random_zipfian(1, 10000, :skew)
BEGIN;
SELECT on_hand FROM stock WHERE id = :item FOR UPDATE;
UPDATE stock SET on_hand = on_hand - 1, updated_at = now() WHERE id = :item;
INSERT INTO movement (stock_id, delta, reason) VALUES (:item, -1, 'sale');
COMMIT;
