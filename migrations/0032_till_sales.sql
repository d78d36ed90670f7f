-- The third net under tills, as returns and receipts have it: an item is sold by one movement, whatever the code believes.
CREATE UNIQUE INDEX till_sells_an_item_once ON stock_movements (source_id)
    WHERE kind = 'sale' AND source_id IS NOT NULL AND order_id IS NULL;
