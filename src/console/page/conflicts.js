// What could not be kept as it was sent, and what a person decides of it.

import { post } from "./api.js";
import { ask, REASON, wholeNumber } from "./ask.js";
import { h } from "./dom.js";
import { badge, button, folded, link, raw, table, write } from "./parts.js";

const { time } = write;

/** The conflicts, each with what was sent and what stands against it. */
export function conflicts(room, items) {
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
