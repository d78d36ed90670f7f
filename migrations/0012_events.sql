-- What happened, in an order that everybody can follow.

-- Every fact that is told has a position, and the stream is all facts by their positions. A position is drawn when the
-- fact is written, that is under the locks it was decided under: of two facts that had to wait for each other the later
-- one has the higher position. (The ids of transactions do not have that property: one that began first may write last.)
-- No cache: a session that kept numbers in store would hand out old ones late. Gaps mean nothing.
CREATE SEQUENCE event_positions AS bigint NO CYCLE CACHE 1;

-- Whoever reads must know up to where nobody can write any more: up to what was drawn before a transaction id was, once
-- all older transactions have ended. So each draw asks for its own transaction's id first: the argument is evaluated
-- before the call. Two tables give their rows a position by the same default; the facts themselves are the events, with
-- no second row. Rows from before this migration have none, and are not told.
ALTER TABLE stock_movements ADD COLUMN position bigint;
ALTER TABLE stock_movements ALTER COLUMN position
    SET DEFAULT nextval(CASE WHEN pg_current_xact_id() IS NOT NULL THEN 'event_positions'::regclass END);
CREATE INDEX movements_by_position ON stock_movements (position) WHERE position IS NOT NULL;

ALTER TABLE orders ADD COLUMN position bigint;
ALTER TABLE orders ALTER COLUMN position
    SET DEFAULT nextval(CASE WHEN pg_current_xact_id() IS NOT NULL THEN 'event_positions'::regclass END);
CREATE INDEX orders_by_position ON orders (position) WHERE position IS NOT NULL;

-- All other facts: a row each, kept for a time only. `data` is json and not jsonb: it is told as it was written.
CREATE TABLE events (
    position    bigint      NOT NULL
                DEFAULT nextval(CASE WHEN pg_current_xact_id() IS NOT NULL THEN 'event_positions'::regclass END)
                CONSTRAINT event_position_is_used_once PRIMARY KEY,
    event_id    uuid        NOT NULL,
    kind        text        NOT NULL CONSTRAINT event_kind_is_a_name
                CHECK (kind ~ '^[a-z]+\.[a-z_]+$' AND char_length(kind) <= 64),
    -- What it is about, if about one thing: its kind and its id or name.
    about       text        CONSTRAINT event_subject_is_known
                CHECK (about IN ('variant', 'order', 'hold', 'rack', 'session', 'invoice')),
    about_id    text        CONSTRAINT event_subject_is_bounded CHECK (char_length(about_id) BETWEEN 1 AND 255),
    data        json        NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT event_subject_is_whole CHECK ((about IS NULL) = (about_id IS NULL))
);

CREATE TRIGGER events_are_not_changed BEFORE UPDATE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

-- Up to where the stream was forgotten: whoever read less of it can't go on without a gap.
CREATE TABLE event_horizon (
    only_one boolean NOT NULL DEFAULT true CONSTRAINT event_horizon_is_one PRIMARY KEY
             CONSTRAINT event_horizon_is_the_only_one CHECK (only_one),
    position bigint  NOT NULL CONSTRAINT event_horizon_is_not_negative CHECK (position >= 0)
);
INSERT INTO event_horizon (position) VALUES (0);
