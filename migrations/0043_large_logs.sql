-- An endpoint that is removed is gone at once, whatever stands in its log: that is deleted in batches. Nothing is written of an
-- endpoint that is not there, for whoever writes deliveries has locked it.
ALTER TABLE webhook_deliveries DROP CONSTRAINT delivery_has_an_endpoint;

-- What is sent again is gone through by its positions, those of one state or of each.
CREATE INDEX deliveries_of_a_state ON webhook_deliveries (endpoint_id, state, position);
DROP INDEX pending_deliveries;

-- An order's story tells who was told of it.
CREATE INDEX deliveries_about_orders ON webhook_deliveries (aggregate, position) WHERE aggregate LIKE 'order:%';
