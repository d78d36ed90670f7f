-- One unit of one item: lock its row, take the unit, keep a movement.
BEGIN;
SELECT on_hand FROM stock WHERE id = 1 FOR UPDATE;
UPDATE stock SET on_hand = on_hand - 1, updated_at = now() WHERE id = 1;
INSERT INTO movement (stock_id, delta, reason) VALUES (1, -1, 'sale');
COMMIT;
