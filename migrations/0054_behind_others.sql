-- What is due is taken by when it became so. A delivery that stands behind an earlier one about the same thing may be put
-- aside, so that it is not looked at until that one has been taken or given up. Whoever puts one aside, or ends one, has locked
-- its endpoint: so whatever is aside has an earlier one that is pending.
ALTER TABLE webhook_deliveries ADD COLUMN is_behind boolean NOT NULL DEFAULT false;
CREATE INDEX deliveries_by_due ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE state = 'pending' AND NOT is_behind;
