-- A user's orders are listed by when they were placed, as all orders are: ids follow the clocks of the replicas, and only
-- the database's says what came first. IF NOT EXISTS: where there are millions, make them before, CONCURRENTLY.
CREATE INDEX IF NOT EXISTS orders_of_a_user_by_time ON orders (user_id, placed_at DESC, order_id DESC);
DROP INDEX IF EXISTS orders_of_a_user;

-- Few orders are cancelled: to find those among all would read all.
CREATE INDEX IF NOT EXISTS cancelled_orders_by_time ON orders (status, placed_at DESC, order_id DESC)
    WHERE status <> 'placed';
