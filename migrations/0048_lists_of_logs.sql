-- An endpoint's log is listed newest first, of one state or of each, however much of another state lies between.
CREATE INDEX deliveries_of_a_state_by_id ON webhook_deliveries (endpoint_id, state, delivery_id);

-- The oldest delivery that waits is looked for endpoint by endpoint: what is left of one that was removed is passed over.
CREATE INDEX pending_deliveries_of_an_endpoint_by_age ON webhook_deliveries (endpoint_id, pending_since) WHERE state = 'pending';
