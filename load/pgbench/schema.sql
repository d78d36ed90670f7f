-- The tables of the limit: the least that can hold stock, its movements and orders, in a schema of their own.
CREATE SCHEMA IF NOT EXISTS holdfast_limit;
DROP TABLE IF EXISTS
    holdfast_limit.order_line, holdfast_limit.orders, holdfast_limit.idempotency,
    holdfast_limit.movement, holdfast_limit.stock;
CREATE TABLE holdfast_limit.stock (
    id int PRIMARY KEY,
    on_hand bigint NOT NULL CHECK (on_hand >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE holdfast_limit.movement (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stock_id int NOT NULL,
    delta int NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE holdfast_limit.idempotency (
    key uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE holdfast_limit.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id int NOT NULL,
    idempotency_key uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE holdfast_limit.order_line (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id bigint NOT NULL,
    stock_id int NOT NULL,
    quantity int NOT NULL
);
