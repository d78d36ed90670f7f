// What could not be kept as it was sent, and what a person decides of it.

import { post } from "./api.js";
import { ask, REASON, wholeNumber } from "./ask.js";
import { h } from "./dom.js";
import { badge, button, folded, link, more, panel, raw, table, write } from "./parts.js";

const { count, many, time } = write;
const PAGE = 50;
const MOST = 1000;

/** The open conflicts, of all or of a session: the oldest, and as many more as somebody asked for. */
export function inbox(room, params, draw) {
  const box = {
    params, items: null, cursor: null, limit: PAGE,
    look: async () => {
      const page = await room.get("/sync/conflicts", { ...params, limit: box.limit });
      [box.items, box.cursor] = [page.items, page.next_cursor];
    },
    more: () => room.attempt(async () => {
      box.limit = Math.min(box.limit + PAGE, MOST);
      await box.look();
      draw();
    }),
  };
  return box;
}

/** How many there are, as far as somebody looked. */
export const howMany = ({ items, cursor }) => `${count(items.length)}${cursor ? " or more" : ""}`;

/** The panel of an inbox: one by one, or all by a rule. */
export function conflicts(room, box, title, note) {
  return panel(title, { wide: true, note, actions: box.items?.length ? button("Resolve by a rule …", () => resolveAll(room, box)) : null },
    list(room, box.items),
    more(box.limit < MOST && box.cursor, box.more));
}

/** Each with what was sent and what stands against it. */
function list(room, items) {
  return table("Conflicts to resolve", [
    ["Found", ({ detected_at }) => time(detected_at)],
    ["Why", ({ conflict_type, message }) => [badge("warn", write.words(conflict_type)), h("br"), message]],
    ["Counter", ({ user_id }) => user_id],
    ["Session", ({ session_id }) => link(`/counts/${encodeURIComponent(session_id)}`, write.id(session_id))],
    ["Sent, and what is there", ({ conflict_id, local, server, details }) => folded(
      `${local.item_code}: ${local.verified_qty} counted${server ? `, ${server.verified_qty} there` : ""}`, `conflict-${conflict_id}`,
      h("div", { class: "columns" }, h("div", {}, h("small", {}, "as it was sent"), raw(local)),
        server && h("div", {}, h("small", {}, "what is there"), raw(server)), h("div", {}, h("small", {}, "against"), raw(details))))],
    ["", (conflict) => button("Resolve", () => resolve(room, conflict), { "aria-label": `Resolve ${conflict.local.item_code}` }), "action"],
  ], items, { key: ({ conflict_id }) => conflict_id, empty: "None: nothing needs a person." });
}

function resolveAll(room, { params }) {
  return ask({
    title: params.session_id ? "Resolve this session's conflicts by a rule" : "Resolve all conflicts by a rule",
    text: "All that are open, those that are not shown here too. Those that can't be resolved by the rule stay for a person.",
    fields: [
      { name: "strategy", label: "What holds", kind: "choice", options: [
        ["newest_wins", "the later version, by the devices' own time"], ["server_wins", "what is there"],
        ["local_wins", "the record as it was sent"],
      ] },
      REASON,
    ],
    confirm: "Resolve them",
    act: async ({ strategy, reason }) => {
      let [resolved, left, cursor] = [0, 0];
      do {
        const part = await post("/sync/conflicts/auto-resolve", { ...params, strategy, reason, cursor });
        resolved += part.resolved.length;
        left += part.left.length;
        cursor = part.next_cursor ?? undefined;
      } while (cursor);
      room.say(`${many(resolved, "conflict")} resolved${left ? `, ${count(left)} left for a person` : ""}.`);
    },
  });
}

function resolve(room, { conflict_id, message, local, server }) {
  return ask({
    title: "Resolve this conflict",
    text: `${local.item_code}, ${local.verified_qty} counted: ${message}`,
    fields: [
      { name: "resolution", label: "What holds", kind: "choice", options: [
        ["accept_server", "what is there"], ["accept_local", "the record as it was sent"],
        ["merge", "the record with another quantity"], ["ignore", "what is there, and it was no matter"],
      ] },
      { name: "quantity", label: "Other quantity", hint: `Only for a merge; sent was ${local.verified_qty}${server ? `, there is ${server.verified_qty}` : ""}.` },
      REASON,
    ],
    confirm: "Resolve",
    act: async ({ resolution, quantity, reason }) => {
      if (resolution === "merge" && quantity === "") throw new Error("Say the other quantity.");
      const merged = resolution === "merge" ? { verified_qty: wholeNumber(quantity, "The other quantity") } : undefined;
      await post(`/sync/conflicts/${conflict_id}/resolve`, { resolution, merged, reason });
      room.say(`Resolved: ${local.item_code}, ${write.words(resolution)}.`);
    },
  });
}
