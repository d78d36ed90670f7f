-- What is sent again is gone through by its positions, those of one state or of each.
CREATE INDEX deliveries_of_a_state ON webhook_deliveries (endpoint_id, state, position);
DROP INDEX pending_deliveries;

-- An order's story tells who was told of it.
CREATE INDEX deliveries_about_orders ON webhook_deliveries (aggregate, position) WHERE aggregate LIKE 'order:%';
