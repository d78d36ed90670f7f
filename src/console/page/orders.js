// Orders, and the story of each: the key it was placed with, its lines, what was cancelled of it, by whom and by which
// webhook.

import { h } from "./dom.js";
import { badge, facts, filters, folded, link, modeBadge, more, panel, raw, table, write } from "./parts.js";

const { count, time } = write;
const LOOK_EVERY_MS = 3000;
const PAGE = 50;

export default {
  name: "orders",
  title: "Orders",
  scopes: ["storefront"],
  open(room) {
    if (room.args[0]) one(room, room.args[0]);
    else list(room);
  },
};

const STATUS = { placed: ["ok", "placed"], partly_cancelled: ["warn", "partly cancelled"], cancelled: ["idle", "cancelled"] };
const status = (name) => badge(...(STATUS[name] ?? ["idle", name]));

function list(room) {
  const seen = { user_id: "", status: "", items: null, cursor: null };
  const draw = () => room.show(
    filters([
      { name: "user_id", label: "User", value: seen.user_id },
      { name: "status", label: "Status", value: seen.status, options: [["", "all"], ...Object.entries(STATUS).map(([name, [, text]]) => [name, text])] },
      { name: "order_id", label: "or an order's id", wide: true },
    ], ({ order_id, ...given }) => {
      if (order_id) location.hash = `#/orders/${order_id}`;
      else {
        Object.assign(seen, given, { items: null });
        room.attempt(load);
      }
    }),
    panel("Orders", { wide: true, note: "newest first" },
      table("Orders", [
        ["Placed", ({ placed_at }) => time(placed_at)],
        ["Order", ({ order_id }) => link(`/orders/${order_id}`, write.id(order_id))],
        ["User", ({ user_id }) => user_id],
        ["Status", ({ status: name }) => status(name)],
        ["Lines", ({ lines }) => count(lines.length), "number"],
        ["Total", ({ total, currency }) => write.money(total, currency), "number"],
        ["Lock", ({ lock }) => modeBadge(lock.mode)],
      ], seen.items, { key: ({ order_id }) => order_id, empty: "There is no such order." }),
      more(seen.cursor, () => room.attempt(() => load(seen.cursor)))));
  const load = async (cursor) => {
    const page = await room.get("/orders", { user_id: seen.user_id, status: seen.status, cursor, limit: PAGE });
    seen.items = cursor ? [...seen.items, ...page.items] : page.items;
    seen.cursor = page.next_cursor;
    draw();
  };
  draw();
  room.every(LOOK_EVERY_MS, async () => {
    if ((seen.items?.length ?? 0) <= PAGE) await load();
  });
}

function one(room, orderId) {
  room.every(LOOK_EVERY_MS, async () => {
    const story = await room.get(`/orders/${encodeURIComponent(orderId)}/history`);
    room.show(view(story));
  });
}

function view(story) {
  const { order, claim } = story;
  const skus = new Map(order.lines.map((line) => [line.line_id, line.sku]));
  return [
    h("p", {}, link("/orders", "All orders"), ` / ${order.order_id}`),
    panel("Order", {}, facts([
      ["Status", status(order.status)], ["User", order.user_id], ["Total", write.money(order.total, order.currency)],
      ["Placed", time(order.placed_at)], ["By key of", story.placed_by],
      ["Lock", [modeBadge(order.lock.mode), ` waited ${write.ms(order.lock.wait_ms)}`]],
      story.hold_id && ["Captured hold", h("code", {}, story.hold_id)],
      ["Request", h("code", {}, story.request_id)],
    ]), order.metadata && folded("Metadata", "metadata", raw(order.metadata))),
    panel("Idempotency key", {}, facts([
      ["Key", h("code", {}, story.idempotency_key)],
      ["Answer", claim ? badge("ok", `kept: status ${claim.status}`) : badge("idle", "no longer kept; the key stays this order's")],
      claim && ["First seen", time(claim.first_seen)],
    ]), story.born_cancelled && h("p", { class: "warned" }, badge("warn", "born cancelled"),
      " Its cancellation came before it, ", time(story.born_cancelled.came_at), `, by ${story.born_cancelled.cancelled_by}`
      + `${story.born_cancelled.reason ? `: ${story.born_cancelled.reason}` : ""}. It took no stock.`)),
    panel("Lines", { wide: true },
      table("Lines", [
        ["Item", ({ variant_id, sku }) => link(`/stock/${variant_id}`, sku)],
        ["Ordered", ({ quantity }) => count(quantity), "number"],
        ["Cancelled", ({ cancelled_quantity }) => (cancelled_quantity ? badge("warn", count(cancelled_quantity)) : "0"), "number"],
        ["Price", ({ unit_price }) => unit_price, "number"],
        ["Total", ({ line_total }) => write.money(line_total, order.currency), "number"],
      ], order.lines, { key: ({ line_id }) => line_id })),
    panel("Cancellations", { wide: true, note: "each returned its stock once" },
      table("Cancellations", [
        ["When", ({ cancelled_at }) => time(cancelled_at)],
        ["Item", ({ line_id }) => skus.get(line_id) ?? write.id(line_id)],
        ["Quantity", ({ quantity }) => count(quantity), "number"],
        ["Why", ({ reason }) => reason ?? "–"],
        ["By", ({ cancelled_by }) => cancelled_by],
        ["Request", ({ request_id }) => h("code", {}, request_id)],
      ], story.cancellations, { key: ({ cancellation_id }) => cancellation_id, empty: "Nothing was cancelled." })),
    panel("Webhooks", { wide: true, note: "cancellations of this order that others sent" },
      table("Webhooks", [
        ["Came", ({ received_at }) => time(received_at)],
        ["Event", ({ event_id }) => h("code", {}, event_id)],
        ["Signed as", ({ scheme }) => scheme],
        ["Became", ({ state }) => write.words(state)],
        ["Request", ({ request_id }) => h("code", {}, request_id)],
      ], story.webhooks, { key: ({ entry_id }) => entry_id, empty: "None came for it." })),
    // Only operators are told.
    ...(story.deliveries ? [panel("Told by webhook", { wide: true, note: "events of this order and the programs that wanted them" },
      table("Told by webhook", [
        ["Found", ({ created_at }) => time(created_at)],
        ["Type", ({ type }) => h("code", {}, type)],
        ["Endpoint", ({ endpoint_id }) => h("code", {}, write.id(endpoint_id))],
        ["State", ({ state }) => badge(...({ delivered: ["ok", "delivered"], pending: ["busy", "on its way"], dead: ["bad", "given up"] }[state]))],
        ["Attempts", ({ attempts }) => count(attempts), "number"],
        ["Answered", ({ last_status }) => last_status ?? "–", "number"],
        ["Why not", ({ last_error }) => last_error ?? "–"],
      ], story.deliveries, { key: ({ delivery_id }) => delivery_id, empty: "Nobody was told of it." }))] : []),
  ];
}
