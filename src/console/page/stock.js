// Stock: items, and of one its levels, its balance over time, and the movements that made it.

import { balance } from "./charts.js";
import { h } from "./dom.js";
import { badge, facts, figure, figures, filters, link, modeBadge, more, panel, table, write } from "./parts.js";

const { count, signed, time } = write;
const LOOK_EVERY_MS = 2000;
const PAGE = 50;
const DRAWN_MAX = 500;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export default {
  name: "stock",
  title: "Stock",
  scopes: ["storefront", "warehouse"],
  open(room) {
    if (room.args[0]) one(room, room.args[0]);
    else list(room);
  },
};

function list(room) {
  const seen = { sku: "", items: null, cursor: null };
  const draw = () => room.show(
    filters([{ name: "sku", label: "SKU or its beginning, or the item's id", value: seen.sku, wide: true }], ({ sku }) => {
      if (UUID.test(sku)) location.hash = `#/stock/${sku}`;
      else load(sku);
    }, "Find"),
    panel("Items", { wide: true, note: seen.sku ? `whose SKU begins with ${seen.sku}` : "in the order they were made" },
      table("Items", [
        ["SKU", ({ variant_id, sku }) => link(`/stock/${variant_id}`, sku)],
        ["Name", ({ name }) => name],
        ["Price", ({ price, currency }) => write.money(price, currency), "number"],
        ["On hand", ({ on_hand }) => count(on_hand), "number"],
      ], seen.items, { key: ({ variant_id }) => variant_id, empty: "There is no such item." }),
      more(seen.cursor, () => load(seen.sku, seen.cursor))));
  const load = (sku, cursor) => room.attempt(async () => {
    const page = await room.get("/variants", { sku_prefix: sku, cursor, limit: PAGE });
    seen.items = cursor ? [...seen.items, ...page.items] : page.items;
    [seen.sku, seen.cursor] = [sku, page.next_cursor];
    if (sku && !cursor && page.items.length === 1) location.hash = `#/stock/${page.items[0].variant_id}`;
    else draw();
  });
  draw();
  load("");
}

function one(room, variantId) {
  const seen = { limit: 100 };
  const look = async () => {
    const path = encodeURIComponent(variantId);
    [seen.variant, seen.level, seen.page] = await Promise.all([
      seen.variant ?? room.get(`/variants/${path}`),
      room.get(`/inventory/${path}`),
      room.get(`/inventory/${path}/movements`, { limit: seen.limit }),
    ]);
    draw();
  };
  const draw = () => {
    const { variant, level, page } = seen;
    room.show(
      h("p", {}, link("/stock", "All items"), ` / ${variant.sku}`),
      figures(
        figure("On hand", count(level.on_hand), `version ${count(level.version)}`),
        figure("Held", count(level.held), "while customers pay"),
        figure("Available", count(level.available), status(level.stock_status))),
      panel("Balance", { note: `its last ${count(page.items.length)} movements` }, balance(page.items)),
      panel("Item", {}, facts([
        ["SKU", variant.sku], ["Name", variant.name], ["Price", write.money(variant.price, variant.currency)],
        ["Id", h("code", {}, variant.variant_id)], ["Changed", time(level.updated_at)],
      ])),
      panel("Movements", { wide: true, note: "newest first" },
        table("Movements", [
          ["Version", ({ version }) => count(version), "number"],
          ["When", ({ created_at }) => time(created_at)],
          ["Kind", ({ kind }) => kind],
          ["Change", ({ delta }) => signed(delta), "number"],
          ["Before", ({ previous_quantity }) => count(previous_quantity), "number"],
          ["After", ({ new_quantity }) => count(new_quantity), "number"],
          ["Why", ({ kind, reason, reference }) => [reason, reference && h("span", { class: "dim" }, " ", told(kind, reference))]],
          ["Lock", ({ lock }) => modeBadge(lock.mode)],
          ["Waited", ({ lock }) => write.ms(lock.wait_ms), "number"],
        ], page.items, { key: ({ movement_id }) => movement_id, empty: "It has never moved." }),
        page.next_cursor && seen.limit < DRAWN_MAX && more(page.next_cursor, () => {
          seen.limit = DRAWN_MAX;
          room.attempt(look);
        })));
  };
  room.every(LOOK_EVERY_MS, look);
}

/** What a movement belongs to: an order's own id leads to its story. */
function told(kind, reference) {
  const isOrder = (kind === "sale" || kind === "return") && UUID.test(reference);
  return isOrder ? link(`/orders/${reference}`, write.id(reference)) : write.id(reference);
}

function status(kind) {
  if (kind === "in_stock") return badge("ok", "in stock");
  return kind === "low_stock" ? badge("warn", "low") : badge("bad", "out of stock");
}
