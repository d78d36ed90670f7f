// Invoices: what came in and what it may be the same as, side by side; who writes which till's invoice now.

import { post } from "./api.js";
import { ask, REASON } from "./ask.js";
import { h } from "./dom.js";
import { holder, note, releasing } from "./locks.js";
import { badge, button, facts, filters, link, more, panel, table, write } from "./parts.js";

const { count, time } = write;
const LOOK_EVERY_MS = 4000;
const PAGE = 50;
/** What a flagged one is like changes seldom: it is looked at every so many times. */
const OTHERS_EACH = 5;
/** So many edits of a till are seen at first, and so many more each time. */
const EDITS = 100;
/** So many shared lines are told at most. */
const SHARED_MAX = 200;

export default {
  name: "invoices",
  title: "Invoices",
  scopes: ["finance"],
  open(room) {
    if (room.args[0] === "till") till(room, room.args[1]);
    else if (room.args[0]) one(room, room.args[0]);
    else list(room);
  },
};

const STATES = { accepted: ["ok", "accepted"], flagged: ["warn", "flagged"], overridden: ["ok", "overridden"], voided: ["idle", "voided"] };
/** Scores and weights are parts of 1. */
const points = (part) => count(Math.round(part * 100));
const state = (name) => badge(...(STATES[name] ?? ["idle", name]));

function list(room) {
  const seen = { state: "flagged", account_id: "", asked: 0, items: null, cursor: null, tills: null, now: null, held: new Map() };
  const page = (cursor) => room.get("/invoices", { state: seen.state, account_id: seen.account_id, cursor, limit: PAGE });
  const load = async () => {
    const { asked } = seen;
    const { items, next_cursor } = await page(seen.cursor);
    if (seen.asked === asked) Object.assign(seen, { items: [...(seen.items ?? []), ...items], cursor: next_cursor });
  };
  /** As many anew as are shown, unless others are by then. */
  const reload = async () => {
    const { asked, items: shown } = seen;
    let found = await page();
    const items = found.items;
    while (found.next_cursor && items.length < (shown?.length ?? 0)) {
      found = await page(found.next_cursor);
      items.push(...found.items);
    }
    if (seen.asked === asked && seen.items === shown) Object.assign(seen, { items, cursor: found.next_cursor });
  };
  const draw = () => room.show(
    filters([
      { name: "state", label: "State", value: seen.state, options: [["", "all"], ...Object.entries(STATES).map(([name, [, text]]) => [name, text])] },
      { name: "account_id", label: "Account", value: seen.account_id },
      { name: "till", label: "or a till's invoice by name", wide: true },
    ], ({ till: name, ...given }) => {
      if (name) location.hash = `#/invoices/till/${encodeURIComponent(name)}`;
      else {
        Object.assign(seen, given, { asked: seen.asked + 1, items: null, cursor: null });
        room.attempt(reload).then(draw);
      }
    }),
    panel("Of suppliers", { wide: true, note: seen.state === "flagged" ? "these wait for somebody to decide" : "the last uploaded first" },
      table("Invoices of suppliers", [
        ["Uploaded", ({ uploaded_at }) => time(uploaded_at)],
        ["Vendor", ({ vendor_name }) => vendor_name],
        ["Number", ({ invoice_id, invoice_number }) => link(`/invoices/${invoice_id}`, invoice_number)],
        ["Dated", ({ invoice_date }) => h("span", { class: "nowrap" }, invoice_date)],
        ["Total", ({ total, currency }) => write.money(total, currency), "number"],
        ["State", ({ state: name }) => state(name)],
        ["May be the same as", ({ matches }) => (matches.length ? `${count(matches.length)}, by ${points(Math.max(...matches.map(({ score }) => score)))} of 100` : "–")],
        ["Account", ({ account_id }) => account_id],
      ], seen.items, { key: ({ invoice_id }) => invoice_id, empty: seen.state === "flagged" ? "None waits for a decision." : "There is none." }),
      more(seen.cursor, () => room.attempt(load).then(draw))),
    panel("Written and read now", { wide: true, note: "locks of tills' invoices, of uploads, and of files that are read" }, !room.isOperator
      ? h("p", { class: "empty" }, "Only an operator's key sees locks.")
      : table("Locks of invoices", [
        ["Lock", ({ key }) => h("code", {}, key)],
        ["Holder", holder],
        ["Seen held for", ({ key }) => write.span((seen.now - seen.held.get(key).since) / 1000), "number"],
        ["In line", ({ waiters }) => (waiters ? badge("busy", count(waiters)) : "0"), "number"],
        ["Ends in", ({ ttl_ms }) => (ttl_ms === null ? "–" : write.span(ttl_ms / 1000)), "number"],
        ["", (lock) => releasing(room, lock), "action"],
      ], seen.tills, { key: ({ key }) => key, empty: "Nobody writes an invoice at this moment." })));
  draw();
  room.every(LOOK_EVERY_MS, async () => {
    await reload();
    if (room.isOperator) {
      const status = await room.get("/locks/status");
      note(seen.held, status);
      seen.now = Date.parse(status.timestamp);
      seen.tills = status.locks.filter(({ class: kind }) => kind === "invoice");
    }
    draw();
  });
}

function one(room, invoiceId) {
  const others = new Map();
  let looks = 0;
  room.every(LOOK_EVERY_MS, async () => {
    const invoice = await room.get(`/invoices/${encodeURIComponent(invoiceId)}`);
    const all = looks++ % OTHERS_EACH === 0;
    await Promise.all(invoice.matches.filter(({ invoice_id }) => all || !others.has(invoice_id)).map(async ({ invoice_id }) =>
      others.set(invoice_id, await room.get(`/invoices/${invoice_id}`))));
    room.show(view(room, invoice, others));
  });
}

function view(room, invoice, others) {
  return [
    h("p", {}, link("/invoices", "All invoices"), ` / ${invoice.vendor_name} ${invoice.invoice_number}`),
    panel("Invoice", { actions: [
      invoice.state === "flagged" && button("Let it pass …", () => override(room, invoice), { class: "primary" }),
      invoice.state !== "voided" && button("Void …", () => voidIt(room, invoice)),
    ] }, sides(invoice)),
    panel("Decisions", {},
      table("Decisions", [
        ["When", ({ decided_at }) => time(decided_at)],
        ["What", ({ kind }) => write.words(kind)],
        ["Why", ({ reason }) => reason],
        ["By", ({ decided_by }) => decided_by],
      ], invoice.decisions, { key: ({ decided_at, kind }) => `${decided_at} ${kind}`, empty: "Nobody has decided anything." })),
    invoice.matches.map((match) => duplicate(invoice, match, others.get(match.invoice_id))),
    panel("Lines", { wide: true },
      table("Lines", [
        ["SKU", ({ sku }) => sku ?? "–"],
        ["Description", ({ description }) => description],
        ["Quantity", ({ quantity }) => count(quantity), "number"],
        ["Came in", ({ received_quantity }) => count(received_quantity), "number"],
        ["Price", ({ unit_price }) => unit_price, "number"],
      ], invoice.lines, { key: ({ line_id }) => line_id, empty: "It has no lines." })),
  ];
}

const sides = (invoice) => facts([
  ["State", state(invoice.state)], ["Vendor", invoice.vendor_name], ["Number", invoice.invoice_number],
  ["Dated", invoice.invoice_date], ["Total", write.money(invoice.total, invoice.currency)], ["Account", invoice.account_id],
  ["File", invoice.file_hash && h("code", {}, invoice.file_hash)], ["Uploaded", [time(invoice.uploaded_at), ` by ${invoice.uploaded_by}`]],
]);

/** Both, field by field, with what each field weighs, and line by line. */
function duplicate(invoice, { invoice_id, score, evidence }, other) {
  const shared = evidence.find(({ field }) => field === "lines")?.shared_lines;
  return panel(`May be the same as ${other?.invoice_number ?? invoice_id}`, { wide: true, key: `match-${invoice_id}`, note: `${points(score)} of 100` },
    other && h("p", { class: "lead" }, link(`/invoices/${invoice_id}`, `${other.vendor_name} ${other.invoice_number}`), " ", state(other.state),
      " uploaded ", time(other.uploaded_at), ` by ${other.uploaded_by}`),
    table("Evidence", [
      ["Field", ({ field }) => write.words(field)],
      ["This one", ({ ours }) => ours ?? "–"],
      ["The other", ({ theirs }) => theirs ?? "–"],
      ["Compared", (both) => compared(both)],
      ["Weighs", ({ weight }) => points(weight), "number"],
    ], evidence, { key: ({ field }) => field }),
    other && (invoice.lines.length > 0 || other.lines.length > 0) && table("Lines of both", [
      ["Row", ({ place }) => place, "number"],
      ["A line of this one", ({ ours }) => (ours ? written(ours) : "–")],
      ["A line of the other", ({ theirs }) => (theirs ? written(theirs) : "–")],
      ["Compared", ({ same }) => same],
    ], sideBySide(invoice.lines, other.lines, shared), { key: ({ place }) => `${place}` }));
}

function compared({ field, ours, theirs, weight, shared_lines: shared }) {
  if (field === "lines" && shared) return badge(shared.length ? "warn" : "idle", `${count(shared.length)} shared`);
  if (field === "lines") return weight > 0 ? badge("warn", "alike") : badge("idle", "not told apart");
  return ours === theirs ? badge("warn", "the same") : weight > 0 ? badge("warn", "alike") : badge("idle", "differs");
}

const written = ({ sku, description, quantity, unit_price }) => `${count(quantity)} × ${sku ? `${sku}, ` : ""}${description} at ${unit_price}`;

/** Rows of two invoices' lines: ours in their order beside what they share, then what only the other has. */
function sideBySide(ours, theirs, shared) {
  const pairs = new Map((shared ?? []).map((pair) => [pair.ours, pair]));
  const taken = new Set((shared ?? []).map((pair) => pair.theirs));
  // Of more than that nobody said whether they are on both.
  const alone = (where) => (shared && shared.length < SHARED_MAX ? badge("idle", `only ${where}`) : "–");
  const both = ({ same_words }) => badge("warn", same_words ? "the same" : "the same quantity and price");
  const rows = ours.map((line, index) => {
    const pair = pairs.get(index + 1);
    return { ours: line, theirs: pair && theirs[pair.theirs - 1], same: pair ? both(pair) : alone("here") };
  });
  const others = theirs.filter((_, index) => !taken.has(index + 1)).map((line) => ({ theirs: line, same: alone("there") }));
  return [...rows, ...others].map((row, index) => ({ ...row, place: index + 1 }));
}

function override(room, invoice) {
  return ask({
    title: "Let it pass",
    text: `${invoice.vendor_name} ${invoice.invoice_number} over ${invoice.total} ${invoice.currency} is no duplicate: it may be received.`,
    fields: [REASON, {
      name: "same_vendor", label: "Whose names are both?", kind: "choice", hint: "Later ones of one vendor are compared under both names.",
      options: [["", "I don't know: one vendor's if they are alike"], ["true", "One vendor's"], ["false", "Two vendors'"]],
    }],
    confirm: "Let it pass",
    act: async ({ reason, same_vendor }) => {
      await post(`/invoices/${invoice.invoice_id}/override`, { reason, same_vendor: { true: true, false: false }[same_vendor] });
      room.say(`${invoice.invoice_number} may pass.`);
    },
  });
}

function voidIt(room, invoice) {
  return ask({
    title: "Void this invoice",
    text: `${invoice.vendor_name} ${invoice.invoice_number} then stands in nobody's way: its file and number may come in anew. That can't be undone.`,
    fields: [REASON],
    confirm: "Void it",
    act: async ({ reason }) => {
      const { freed } = await post(`/invoices/${invoice.invoice_id}/void`, { reason });
      room.say(`Voided ${invoice.invoice_number}${freed?.length ? `; ${count(freed.length)} flagged for its sake are free` : ""}.`);
    },
  });
}

function till(room, name) {
  const path = `/pos/invoices/${encodeURIComponent(name)}`;
  let wanted = EDITS;
  const look = async () => {
    const invoice = await room.get(path);
    const edits = [];
    let cursor = Math.max(0, invoice.version - wanted);
    const older = cursor > 0;
    while (cursor !== null) {
      const page = await room.get(`${path}/history`, { cursor, limit: 100 });
      edits.unshift(...page.items.reverse());
      cursor = page.next_cursor;
    }
    room.show(
      h("p", {}, link("/invoices", "All invoices"), ` / ${name}`),
      panel("Invoice of a till", {}, facts([
        ["State", invoice.state], ["Version", invoice.version], ["Customer", invoice.customer],
        ["Total", write.money(invoice.total, invoice.currency)], ["Saved", [time(invoice.saved_at), ` by ${invoice.saved_by}`]],
        ["Sold", time(invoice.submitted_at)], ["Returned", time(invoice.returned_at)],
      ])),
      panel("Edits", { note: "each that was accepted, the last one first" }, table("Edits", [
        ["Version", ({ version }) => version, "number"],
        ["Saved", ({ saved_at }) => time(saved_at)],
        ["By", ({ saved_by }) => saved_by],
        ["Items", ({ items }) => count(items.length), "number"],
        ["Total", ({ total, currency }) => write.money(total, currency), "number"],
      ], edits, { key: ({ version }) => version }),
      more(older, () => {
        wanted += EDITS;
        return room.attempt(look);
      })),
      panel("Items", { wide: true }, table("Items", [
        ["SKU", ({ variant_id, sku }) => link(`/stock/${variant_id}`, sku)],
        ["Quantity", ({ quantity }) => count(quantity), "number"],
        ["Price", ({ unit_price }) => unit_price, "number"],
        ["Total", ({ line_total }) => write.money(line_total, invoice.currency), "number"],
      ], invoice.items, { key: ({ item_id }) => item_id })));
  };
  room.every(LOOK_EVERY_MS, look);
}
