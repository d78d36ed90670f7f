//! What must be true of the tables at any moment between two transactions, whatever raced or broke: each invariant by
//! name, with the query that finds what breaks it. Written apart from the service's own audit, so that each checks the
//! other; `inventory::plants` breaks each of them.
//!
//! Half of I-13, that no session is left in a transaction, is looked for by `finish` in
//! `pg_stat_activity`, for it takes time.

use sqlx::{PgConnection, PgPool};

/// A name, and a query that gives a line of text for each thing that breaks it.
pub type Invariant = (&'static str, &'static str);

pub const INVARIANTS: &[Invariant] = &[
    (
        "I-1: stock is never negative, nor is what is held",
        "SELECT format('%s: %s on hand, %s held', variant_id, on_hand, held) FROM stock WHERE on_hand < 0 OR held < 0",
    ),
    (
        "I-2: a balance is the sum of its movements",
        "SELECT format('%s: %s on hand, movements sum to %s', variant_id, on_hand, total)
         FROM stock FULL JOIN (SELECT variant_id, sum(delta) AS total FROM stock_movements GROUP BY 1) AS m
             USING (variant_id)
         WHERE on_hand IS DISTINCT FROM coalesce(total, 0)",
    ),
    (
        "I-3: versions are dense, and the last is the stock's",
        "SELECT format('%s: version %s, movements %s, from %s to %s', variant_id, s.version, n, first, last)
         FROM stock s FULL JOIN (
             SELECT variant_id, count(*) AS n, min(version) AS first, max(version) AS last
             FROM stock_movements GROUP BY 1
         ) AS m USING (variant_id)
         WHERE s.version IS DISTINCT FROM coalesce(last, 0) OR n <> last OR first <> 1",
    ),
    (
        "I-4: each movement starts where the one before it ended, and no earlier",
        "SELECT format('%s, version %s', variant_id, version) FROM (
             SELECT variant_id, version, delta, on_hand_after, created_at,
                    coalesce(lag(on_hand_after) OVER w, 0) AS before, lag(created_at) OVER w AS earlier
             FROM stock_movements WINDOW w AS (PARTITION BY variant_id ORDER BY version)
         ) AS chain WHERE before + delta <> on_hand_after OR created_at < earlier",
    ),
    (
        "I-5: history can not be rewritten",
        "SELECT format('%s is not guarded', guarded.name) FROM unnest(ARRAY[
             'movements_are_append_only', 'stock_rows_are_kept', 'early_cancellations_are_append_only',
             'webhook_replays_are_append_only', 'lock_releases_are_append_only', 'pos_versions_are_append_only',
             'pos_items_are_append_only', 'rack_claims_are_append_only', 'count_lines_are_append_only',
             'invoice_decisions_are_append_only', 'invoice_receipts_are_append_only',
             'invoice_matches_are_append_only', 'invoice_policy_changes_are_append_only']) AS guarded (name)
         WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = guarded.name AND tgenabled IN ('O', 'A'))",
    ),
    (
        "I-6: an order has lines, and total and status are theirs",
        "SELECT format('%s: %s, total %s; lines %s, cancelled %s', order_id, status, total, lines_total, cancelled)
         FROM orders LEFT JOIN (
             SELECT order_id, sum(line_total) AS lines_total, sum(quantity) AS ordered,
                    sum(cancelled_quantity) AS cancelled
             FROM order_lines GROUP BY 1
         ) AS l USING (order_id)
         WHERE total IS DISTINCT FROM lines_total OR status <> CASE
             WHEN cancelled = 0 THEN 'placed' WHEN cancelled = ordered THEN 'cancelled' ELSE 'partly_cancelled' END",
    ),
    (
        "I-6: each line is sold by one movement, or by none if its order was born cancelled",
        "SELECT format('line %s of %s: sold %s times', line_id, quantity, n) FROM (
             SELECT l.*, count(m.*) AS n, EXISTS (
                 SELECT FROM orders o JOIN early_cancellations USING (user_id, idempotency_key)
                 WHERE o.order_id = l.order_id) AS is_born_cancelled,
                 coalesce(bool_and(m.delta = -l.quantity AND m.variant_id = l.variant_id AND m.order_id = l.order_id),
                          true) AS is_right
             FROM order_lines l LEFT JOIN stock_movements m ON m.source_id = l.line_id AND kind = 'sale'
             GROUP BY l.order_id, l.line_id
         ) AS sold WHERE n <> CASE WHEN is_born_cancelled THEN 0 ELSE 1 END OR NOT is_right",
    ),
    (
        "I-6: an order's movement is of a line or a cancellation of that order",
        "SELECT format('%s %s of order %s', kind, movement_id, order_id) FROM stock_movements m
         WHERE order_id IS NOT NULL AND NOT EXISTS (
             SELECT FROM order_lines l WHERE l.order_id = m.order_id AND l.variant_id = m.variant_id AND CASE kind
                 WHEN 'sale' THEN l.line_id = m.source_id
                 WHEN 'return' THEN EXISTS (
                     SELECT FROM order_cancellations c WHERE c.cancellation_id = m.source_id AND c.line_id = l.line_id)
                 ELSE false END)",
    ),
    (
        "I-7: a user's key places one order",
        "SELECT format('%s, %s', user_id, idempotency_key) FROM orders GROUP BY user_id, idempotency_key
         HAVING count(*) > 1",
    ),
    (
        "I-8: an order and its kept answer are of the same request, and name each other",
        "SELECT format('order %s, key %s', order_id, key) FROM orders
         JOIN idempotency_keys k ON k.scope = 'user:' || user_id AND k.key = idempotency_key
         WHERE k.request_hash <> orders.request_hash OR k.status NOT IN (200, 201)
            OR convert_from(k.body, 'UTF8')::jsonb ->> 'order_id' IS DISTINCT FROM order_id::text",
    ),
    (
        "I-9: what a kept answer tells of was done, and no two keys tell of the same",
        "WITH told AS (
             SELECT scope, key, first_seen, convert_from(body, 'UTF8')::jsonb AS answer
             FROM idempotency_keys WHERE status < 300
         ), moved AS (
             SELECT scope, key, answer AS movement FROM told WHERE answer ? 'movement_id'
             UNION ALL
             SELECT scope, NULL, one -> 'movement' FROM told, jsonb_array_elements(answer -> 'results') AS one
             WHERE answer ? 'results' AND one ? 'movement'
         )
         SELECT format('%s, key %s: movement %s', scope, key, movement ->> 'movement_id') FROM moved
         LEFT JOIN stock_movements m ON m.movement_id = (movement ->> 'movement_id')::uuid
         WHERE (m.variant_id::text, m.version, m.delta, m.on_hand_after) IS DISTINCT FROM
             (movement ->> 'variant_id', (movement ->> 'version')::bigint, (movement ->> 'delta')::bigint,
              (movement ->> 'new_quantity')::bigint)
         UNION ALL
         SELECT format('movement %s is told of by %s keys', movement ->> 'movement_id', count(*)) FROM moved
         WHERE key IS NOT NULL GROUP BY scope, movement ->> 'movement_id' HAVING count(*) > 1
         UNION ALL
         SELECT format('%s, key %s: hold %s', scope, key, answer ->> 'hold_id') FROM told
         WHERE answer ? 'hold_id' AND first_seen > clock_timestamp() - interval '24 hours' AND NOT EXISTS (
             SELECT FROM holds WHERE hold_id = (answer ->> 'hold_id')::uuid)
         UNION ALL
         SELECT format('%s, key %s: order %s', scope, key, answer ->> 'order_id') FROM told
         WHERE scope LIKE 'user:%' AND NOT EXISTS (
             SELECT FROM orders WHERE order_id = (answer ->> 'order_id')::uuid AND scope = 'user:' || user_id
                 AND key = idempotency_key)",
    ),
    (
        "I-10: each cancellation brings its stock back once, and no more is cancelled than was ordered",
        "SELECT format('cancellation %s of %s: returned %s by %s', cancellation_id, c.quantity, sum(delta), count(m.*))
         FROM order_cancellations c JOIN order_lines l USING (order_id, line_id)
         LEFT JOIN stock_movements m ON m.source_id = cancellation_id AND kind = 'return'
         GROUP BY cancellation_id HAVING count(m.*) <> 1 OR sum(delta) <> c.quantity
             OR bool_or(m.variant_id <> l.variant_id OR m.order_id IS DISTINCT FROM l.order_id)
         UNION ALL
         SELECT format('line %s of %s: cancelled %s, cancellations of %s', line_id, quantity, cancelled_quantity, n)
         FROM (
             SELECT l.*, coalesce((SELECT sum(c.quantity) FROM order_cancellations c
                                   WHERE (c.order_id, c.line_id) = (l.order_id, l.line_id)), 0) AS n
             FROM order_lines l
         ) AS cancelled
         WHERE cancelled_quantity > quantity OR n <> CASE WHEN EXISTS (
             SELECT FROM orders o JOIN early_cancellations USING (user_id, idempotency_key)
             WHERE o.order_id = cancelled.order_id) THEN 0 ELSE cancelled_quantity END",
    ),
    (
        "I-11: a delivery has its effect",
        "SELECT format('event %s, %s, order %s', event_id, i.state, i.order_id) FROM webhook_inbox i
         LEFT JOIN orders o USING (order_id)
         LEFT JOIN early_cancellations e ON (e.user_id, e.idempotency_key) = (i.user_id, i.idempotency_key)
         WHERE CASE i.state
             WHEN 'cancelled' THEN coalesce(o.status, '') NOT IN ('partly_cancelled', 'cancelled') OR NOT EXISTS (
                 SELECT FROM order_cancellations c WHERE c.order_id = i.order_id AND c.subject = 'webhook'
                 UNION ALL
                 SELECT FROM order_cancellations c JOIN webhook_replays r USING (request_id)
                 WHERE c.order_id = i.order_id AND r.entry_id = i.entry_id)
             WHEN 'already_cancelled' THEN coalesce(o.status, '') <> 'cancelled'
             WHEN 'waiting_for_order' THEN e.came_at IS NULL
             ELSE false END",
    ),
    (
        "I-11: what a webhook did has its delivery, and an order that was cancelled early is cancelled",
        "SELECT format('cancellation %s of order %s', cancellation_id, c.order_id) FROM order_cancellations c
         WHERE c.subject = 'webhook' AND c.cancelled_at > clock_timestamp() - interval '90 days' AND NOT EXISTS (
             SELECT FROM webhook_inbox i WHERE i.order_id = c.order_id AND i.state = 'cancelled')
         UNION ALL
         SELECT format('early: %s, %s', user_id, idempotency_key) FROM early_cancellations e
         WHERE e.subject = 'webhook' AND e.came_at > clock_timestamp() - interval '90 days' AND NOT EXISTS (
             SELECT FROM webhook_inbox i WHERE i.state = 'waiting_for_order'
                 AND (i.user_id, i.idempotency_key) = (e.user_id, e.idempotency_key))
         UNION ALL
         SELECT format('order %s was cancelled early and is %s', order_id, status)
         FROM orders JOIN early_cancellations USING (user_id, idempotency_key) WHERE status <> 'cancelled'",
    ),
    (
        "I-11: what is put aside stands behind a delivery that is still to be made",
        "SELECT format('delivery %s, %s of endpoint %s', delivery_id, aggregate, endpoint_id) FROM webhook_deliveries d
         WHERE is_behind AND EXISTS (SELECT FROM webhook_endpoints e WHERE e.endpoint_id = d.endpoint_id) AND (
             state <> 'pending' OR NOT EXISTS (
                 SELECT FROM webhook_deliveries b WHERE b.endpoint_id = d.endpoint_id AND b.state = 'pending'
                     AND b.aggregate = d.aggregate AND b.position < d.position))",
    ),
    (
        "I-12: a variant's movements are told in the order of their versions",
        "SELECT format('%s, version %s at %s', variant_id, version, position) FROM (
             SELECT variant_id, version, position, lag(position) OVER (PARTITION BY variant_id ORDER BY version) AS earlier
             FROM stock_movements
         ) AS told WHERE position IS NULL OR position <= earlier",
    ),
    (
        "I-12: what was cancelled or held has its event",
        "SELECT format('order %s', order_id) FROM order_cancellations c
         WHERE (SELECT position FROM event_horizon) = 0 AND NOT EXISTS (
             SELECT FROM events WHERE kind = 'order.cancelled' AND about_id = c.order_id::text)
         UNION ALL
         SELECT format('hold %s, %s', hold_id, state) FROM holds h
         WHERE (SELECT position FROM event_horizon) = 0 AND (
             NOT EXISTS (SELECT FROM events WHERE kind = 'hold.created' AND about_id = h.hold_id::text)
             OR (state <> 'held') <> EXISTS (
                 SELECT FROM events WHERE kind = 'hold.' || state AND about_id = h.hold_id::text))",
    ),
    (
        "I-14: a vendor's number is in once a year unless somebody let it pass, and a file is in once",
        "SELECT format('%s, %s of %s', account_id, number_key, vendor_key) FROM invoices WHERE state = 'accepted'
         GROUP BY account_id, number_key, vendor_key, number_year, vendor_form HAVING count(*) > 1
         UNION ALL
         SELECT format('%s, file %s', account_id, lower(file_hash)) FROM invoices
         WHERE state <> 'voided' AND file_hash IS NOT NULL
         GROUP BY account_id, lower(file_hash) HAVING count(*) > 1",
    ),
    (
        "I-14: a vendor's name stands for one that stands for itself",
        "SELECT format('%s: %s, %s', a.account_id, a.alias_key, a.vendor_key) FROM vendor_aliases a
         WHERE EXISTS (SELECT FROM vendor_aliases b WHERE (b.account_id, b.alias_key) = (a.account_id, a.vendor_key))",
    ),
    (
        "I-14: what came in of an invoice are its receipts, each of which is one movement",
        "SELECT format('line %s', line_id) FROM invoice_lines l LEFT JOIN (
             SELECT invoice_id, line_id, sum(quantity) AS came FROM invoice_receipts GROUP BY 1, 2
         ) AS r USING (invoice_id, line_id) WHERE received_quantity <> coalesce(came, 0)
         UNION ALL
         SELECT format('receipt %s', receipt_id) FROM invoice_receipts r
         WHERE (SELECT count(*) FROM stock_movements m WHERE m.source_id = r.receipt_id AND m.kind = 'receipt'
                AND m.delta = r.quantity) <> 1",
    ),
    (
        "I-14: a till's invoice is sold once if it was submitted, and came back once if it was returned",
        "SELECT format('%s, version %s, item %s', name, version, position) FROM (
             SELECT i.name, i.version, i.position, i.quantity,
                    CASE WHEN i.version = p.version AND state <> 'draft' THEN 1 ELSE 0 END AS sold,
                    CASE WHEN i.version = p.version AND state = 'returned' THEN 1 ELSE 0 END AS returned,
                    count(*) FILTER (WHERE m.kind = 'sale' AND m.delta = -i.quantity) AS sales,
                    count(*) FILTER (WHERE m.kind = 'return' AND m.delta = i.quantity) AS returns, count(m.*) AS n
             FROM pos_invoice_items i JOIN pos_invoices p USING (name)
             LEFT JOIN stock_movements m ON m.source_id = i.item_id
             GROUP BY i.name, i.version, i.position, p.version, state
         ) AS items WHERE sales <> sold OR returns <> returned OR n <> sold + returned",
    ),
    (
        "I-14: a till's versions are dense",
        "SELECT format('%s at %s', name, p.version) FROM pos_invoices p JOIN (
             SELECT name, count(*) AS n, max(version) AS newest FROM pos_invoice_versions GROUP BY name
         ) AS v USING (name) WHERE p.version <> n OR n <> newest",
    ),
    (
        "I-15: a posted line is its movements, and each movement of a count is of a line",
        "SELECT format('session %s, item %s', session_id, l.variant_id) FROM count_lines l
         LEFT JOIN stock_movements c USING (movement_id)
         LEFT JOIN stock_movements d ON d.movement_id = damage_movement_id
         WHERE outcome = 'posted' AND (
             (c.variant_id, c.kind, c.on_hand_after - c.delta) IS DISTINCT FROM (l.variant_id, 'count', previous_quantity)
             OR coalesce(d.on_hand_after, c.on_hand_after) IS DISTINCT FROM new_quantity
             OR damage_movement_id IS NOT NULL AND (d.variant_id, d.kind, d.version)
                 IS DISTINCT FROM (l.variant_id, 'count', c.version + 1))
         UNION ALL
         SELECT format('movement %s', movement_id) FROM stock_movements m WHERE kind = 'count' AND NOT EXISTS (
             SELECT FROM count_lines l WHERE m.movement_id IN (l.movement_id, l.damage_movement_id))",
    ),
    (
        "I-15: a session that is posted has a line for each item that was counted, and no other",
        "SELECT format('session %s, item %s', session_id, variant_id) FROM (
             SELECT coalesce(posted_as, session_id) AS session_id, variant_id, count(*) AS n, sum(verified_qty) AS units
             FROM count_records JOIN count_sessions USING (session_id) WHERE status = 'finalized' GROUP BY 1, 2
         ) AS r FULL JOIN count_lines l USING (session_id, variant_id) JOIN count_sessions s USING (session_id)
         WHERE (s.posted_at IS NOT NULL OR l.session_id IS NOT NULL)
           AND coalesce(s.posted_at > clock_timestamp() - interval '400 days', true)
           AND (n, units) IS DISTINCT FROM (l.records, l.counted_qty::numeric)",
    ),
    (
        "I-15: a serial number is its record's, and each number of a record that is not posted is its own",
        "SELECT format('serial number %s', serial_number) FROM count_serials n
         LEFT JOIN count_records r USING (session_id, client_record_id)
         WHERE NOT coalesce(r.serial_numbers ? serial_number, false)
         UNION ALL
         SELECT format('record %s of session %s, serial number %s', client_record_id, session_id, own.serial_number)
         FROM count_records r JOIN count_sessions s USING (session_id),
             jsonb_array_elements_text(serial_numbers) AS own (serial_number)
         WHERE s.posted_at IS NULL AND s.discarded_at IS NULL AND NOT EXISTS (
             SELECT FROM count_serials n WHERE n.serial_number = own.serial_number
                 AND (n.session_id, n.client_record_id) = (r.session_id, r.client_record_id))",
    ),
    (
        "I-15: a record's fence was granted to its session, for its rack",
        "SELECT format('record %s of session %s, fence %s', client_record_id, session_id, fence) FROM count_records r
         WHERE fence IS NOT NULL AND NOT EXISTS (
             SELECT FROM rack_claims c WHERE (c.session_id, c.rack_id, c.fence) = (r.session_id, r.rack_id, r.fence)
                 AND r.lease_name = 'rack:lock:' || c.rack_id)",
    ),
    (
        "I-13: no key is claimed without its answer",
        "SELECT format('%s, key %s', scope, key) FROM idempotency_keys WHERE status IS NULL OR body IS NULL",
    ),
    (
        "holds: what is held is the sum of the open lines, which are those of holds that have not ended",
        "SELECT format('%s: %s held, open lines of %s', variant_id, held, kept) FROM stock LEFT JOIN (
             SELECT variant_id, sum(quantity) AS kept FROM hold_lines WHERE open GROUP BY 1
         ) AS l USING (variant_id) WHERE held <> coalesce(kept, 0)
         UNION ALL
         SELECT format('hold %s, %s: a line is open: %s', hold_id, state, open)
         FROM holds h LEFT JOIN hold_lines l USING (hold_id)
         WHERE open IS DISTINCT FROM (state = 'held') OR l.expires_at IS DISTINCT FROM h.expires_at",
    ),
    (
        "holds: an order has no more than the hold it came from, at the hold's prices, for the hold's user",
        "SELECT format('hold %s, order %s', hold_id, order_id) FROM holds h JOIN orders o USING (order_id)
         WHERE h.user_id <> o.user_id OR h.currency <> o.currency OR EXISTS (
             SELECT variant_id, unit_price, sum(quantity) FROM order_lines l WHERE l.order_id = o.order_id
             GROUP BY 1, 2 HAVING sum(quantity) > coalesce((
                 SELECT sum(quantity) FROM hold_lines k WHERE k.hold_id = h.hold_id
                     AND (k.variant_id, k.unit_price) = (l.variant_id, l.unit_price)), 0))",
    ),
];

/// What breaks which invariant, as of one moment.
pub async fn broken(conn: &mut PgConnection) -> Vec<(&'static str, String)> {
    let each = |(place, (_, query)): (usize, &Invariant)| {
        format!("SELECT {place}, found.detail FROM ({query}) AS found (detail)")
    };
    let all: Vec<_> = INVARIANTS.iter().enumerate().map(each).collect();
    let found: Vec<(i32, String)> = sqlx::query_as(&all.join("\nUNION ALL\n")).fetch_all(conn).await.unwrap();
    found.into_iter().map(|(place, detail)| (INVARIANTS[place as usize].0, detail)).collect()
}

/// Fails unless all of them hold.
pub async fn hold(pool: &PgPool) {
    let broken = broken(&mut pool.acquire().await.unwrap()).await;
    assert!(broken.is_empty(), "broken: {broken:#?}");
}
