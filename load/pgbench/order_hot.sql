-- An order of three lines, one of them always the same item.
\set one 1
\set two random(3334, 6666)
\set three random(6667, 10000)
BEGIN;
-- Claim the key.
INSERT INTO idempotency (key) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING;
-- Lock the rows in one order for everybody.
SELECT id, on_hand FROM stock WHERE id IN (:one, :two, :three) ORDER BY id FOR UPDATE;
UPDATE stock SET on_hand = on_hand - 1, updated_at = now() WHERE id IN (:one, :two, :three);
-- The order, its movements and its lines in one round trip.
WITH placed AS (
    INSERT INTO orders (user_id, idempotency_key) VALUES (:two, gen_random_uuid()) RETURNING id
), moved AS (
    INSERT INTO movement (stock_id, delta, reason)
    VALUES (:one, -1, 'order'), (:two, -1, 'order'), (:three, -1, 'order')
)
INSERT INTO order_line (order_id, stock_id, quantity)
SELECT placed.id, item, 1 FROM placed, unnest(ARRAY[:one::int, :two::int, :three::int]) AS item;
COMMIT;
