-- Ten thousand full shelves and nothing else, with fresh statistics.
TRUNCATE order_line, orders, idempotency, movement, stock;
INSERT INTO stock (id, on_hand) SELECT shelf, 1000000000 FROM generate_series(1, 10000) AS shelf;
VACUUM (ANALYZE) stock;
