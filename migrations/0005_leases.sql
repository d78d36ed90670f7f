-- Leases that outlive a transaction: rack claims, sessions, processing markers.

-- Fences come from one sequence for all names, drawn while the lease's row is locked. So of two claims of a name the
-- later one has the higher fence even if the row was purged in between. No cache: a session that kept numbers in store
-- would hand out old ones late. The limit is the last whole number that Lua and JSON readers know exactly.
CREATE SEQUENCE lease_fences AS bigint MAXVALUE 9007199254740991 NO CYCLE CACHE 1;

-- One row a name: its newest claim. Renewals touch no indexed column and the pages keep room (heap-only tuples).
CREATE TABLE leases (
    name       text        NOT NULL CONSTRAINT lease_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 512),
    -- 0 only inside the transaction of a name's first claim.
    fence      bigint      NOT NULL CONSTRAINT lease_fence_is_not_negative CHECK (fence >= 0),
    owner      text        NOT NULL CONSTRAINT lease_owner_is_bounded CHECK (char_length(owner) BETWEEN 1 AND 255),
    -- What nobody can guess of the value under which Redis shows the claim.
    token      text        NOT NULL CONSTRAINT lease_token_is_bounded CHECK (char_length(token) BETWEEN 1 AND 64),
    claimed_at timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- How the claim ended, and a failure's reason. A claim that merely lapsed has not ended: its owner may renew it
    -- until somebody else claims the name.
    ended_at   timestamptz,
    ending     text        CONSTRAINT lease_ending_is_known
               CHECK (ending IN ('released', 'finished', 'failed', 'by_hand')),
    reason     text        CONSTRAINT lease_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 255),
    -- How far the work is, in percent, where somebody says so.
    progress   smallint    CONSTRAINT lease_progress_is_a_percentage CHECK (progress BETWEEN 0 AND 100),
    CONSTRAINT lease_has_one_row PRIMARY KEY (name),
    CONSTRAINT lease_ending_is_whole CHECK ((ended_at IS NULL) = (ending IS NULL))
) WITH (fillfactor = 70);

-- The third net under the code: whatever it believes, a name's fence never falls, and a claim that ended stays ended.
CREATE FUNCTION refuse_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name <> OLD.name OR NEW.fence < OLD.fence THEN
        RAISE EXCEPTION 'fence % of lease % can''t follow %', NEW.fence, NEW.name, OLD.fence
            USING ERRCODE = 'check_violation', CONSTRAINT = 'lease_fence_never_falls', TABLE = TG_TABLE_NAME;
    END IF;
    IF NEW.fence = OLD.fence AND OLD.ended_at IS NOT NULL AND NEW.ended_at IS NULL THEN
        RAISE EXCEPTION 'claim % of lease % has ended', OLD.fence, OLD.name
            USING ERRCODE = 'check_violation', CONSTRAINT = 'lease_that_ended_stays_ended', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER leases_do_not_go_back BEFORE UPDATE ON leases
    FOR EACH ROW EXECUTE FUNCTION refuse_going_back();

-- For tables whose rows are written under a lease and say so in (lease_name, fence): a write whose claim is not the
-- newest, or has ended, is refused, even if the newer claim is being made at this moment. FOR KEY SHARE makes claims,
-- which lock FOR UPDATE, wait for the write to commit, and lets renewals pass. Attach it by
--     CREATE TRIGGER … BEFORE INSERT OR UPDATE ON … FOR EACH ROW EXECUTE FUNCTION refuse_old_fence();
-- or, where rows are changed later without a lease, BEFORE INSERT OR UPDATE OF fence.
CREATE FUNCTION refuse_old_fence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest record;
BEGIN
    SELECT fence, ending INTO newest FROM leases WHERE name = NEW.lease_name FOR KEY SHARE;
    IF NEW.fence < newest.fence THEN
        RAISE EXCEPTION 'fence % of lease % is old', NEW.fence, NEW.lease_name
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fence_is_the_newest', TABLE = TG_TABLE_NAME,
                  DETAIL = newest.fence::text;
    ELSIF NEW.fence IS NULL OR newest.fence IS DISTINCT FROM NEW.fence THEN
        RAISE EXCEPTION 'fence % of lease % was never issued', NEW.fence, NEW.lease_name
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fence_was_issued', TABLE = TG_TABLE_NAME;
    ELSIF newest.ending IS NOT NULL THEN
        RAISE EXCEPTION 'claim % of lease % has ended', NEW.fence, NEW.lease_name
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fence_has_not_ended', TABLE = TG_TABLE_NAME,
                  DETAIL = newest.ending;
    END IF;
    RETURN NEW;
END $$;
