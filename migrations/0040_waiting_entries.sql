-- Of the inbox's many entries the few whose order has not come yet, for operators who look for them.
CREATE INDEX IF NOT EXISTS waiting_entries ON webhook_inbox (entry_id) WHERE state = 'waiting_for_order';
