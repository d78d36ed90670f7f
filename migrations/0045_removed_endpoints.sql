-- An endpoint that is removed is gone at once, whatever stands in its log: that is deleted in batches. Nothing is written of an
-- endpoint that is not there, for whoever writes deliveries has locked it. By itself, since it locks both tables: what builds
-- an index would keep them for long.
ALTER TABLE webhook_deliveries DROP CONSTRAINT delivery_has_an_endpoint;
