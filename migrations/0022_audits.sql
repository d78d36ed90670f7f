-- What audits found: the last verdict can be had without reading everything anew.
CREATE TABLE audits (
    audit_id          uuid        PRIMARY KEY,
    -- The subject of the key, or the command.
    run_by            text        NOT NULL,
    took_ms           bigint      NOT NULL CONSTRAINT audit_took_some_time CHECK (took_ms >= 0),
    variants_checked  bigint      NOT NULL,
    movements_checked bigint      NOT NULL,
    orders_checked    bigint      NOT NULL,
    -- An array; empty where all agrees.
    violations        jsonb       NOT NULL CONSTRAINT violations_are_a_list CHECK (jsonb_typeof(violations) = 'array'),
    ended_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX audits_by_age ON audits (ended_at);

-- Items are looked for by how their SKU begins, which an index tells only in the order of bytes.
CREATE INDEX IF NOT EXISTS variants_by_how_their_sku_begins ON variants (sku COLLATE "C");

-- The story of an order tells what came in for it.
CREATE INDEX IF NOT EXISTS inbox_entries_of_an_order ON webhook_inbox (order_id) WHERE order_id IS NOT NULL;
