// A session: what was counted, what was expected, the records behind it, and posting it.

import { download, post } from "./api.js";
import { ask, wholeNumber } from "./ask.js";
import { conflicts } from "./conflicts.js";
import { h } from "./dom.js";
import { badge, button, facts, link, more, panel, table, write } from "./parts.js";

const { count, signed, time } = write;
const LOOK_EVERY_MS = 3000;
const PAGE = 100;

/** The page of one session. */
export function session(room, sessionId) {
  const path = `/sessions/${encodeURIComponent(sessionId)}`;
  const seen = { item: null, records: null, cursor: null };
  const records = async (cursor) => {
    const page = await room.get(`${path}/records`, { item_code: seen.item ?? "", cursor, limit: PAGE });
    seen.records = cursor ? [...seen.records, ...page.items] : page.items;
    seen.cursor = page.next_cursor;
  };
  const choose = async (item) => {
    [seen.item, seen.cursor] = [item, null];
    await room.attempt(() => records());
    draw();
  };
  const draw = () => room.show(view(room, path, seen, choose, () => room.attempt(async () => {
    await records(seen.cursor);
    draw();
  })));
  room.every(LOOK_EVERY_MS, async () => {
    [seen.session, seen.variances, seen.conflicts] = await Promise.all([
      room.get(path), room.get(`${path}/variances`),
      room.get("/sync/conflicts", { session_id: sessionId, limit: 50 }),
      (seen.records?.length ?? 0) <= PAGE && records(),
    ]);
    draw();
  });
}

function view(room, path, seen, choose, showMore) {
  const { session: one, variances } = seen;
  const differing = variances.lines.filter(({ variance }) => variance);
  return [
    h("p", {}, link("/counts", "Counting"), ` / ${one.session_id}`),
    panel("Session", { wide: true, actions: [
      button("Export", () => room.attempt(() => download(`${path}/export`, `count-${one.session_id}.csv`))),
      one.posted_at ? null : button("Post it …", () => postIt(room, path, one, variances), { class: "primary" }),
    ] },
      facts([
        ["Counter", one.blind ? `${one.user_id} (sees no expectations)` : one.user_id],
        ["State", one.state], ["Rack", one.rack_id], ["Opened", time(one.opened_at)], ["Heard of", time(one.last_heartbeat_at)],
        one.posted_at && ["Posted", [time(one.posted_at), ` by ${one.posted_by}`]],
        ["Records", `${count(one.finalized_records)} finalized, ${count(one.draft_records)} drafts`],
      ])),
    panel("Variances", { wide: true, note: `${count(differing.length)} of ${count(variances.lines.length)} items differ; ${one.posted_at ? "as posted" : "as posting now would have it"}${variances.next_cursor ? "; these are the first, the export has all" : ""}` },
      table("Variances", [
        ["Item", ({ item_code }) => button(item_code, () => choose(seen.item === item_code ? null : item_code), { "aria-pressed": String(seen.item === item_code) })],
        ["Counted", ({ counted_qty }) => count(counted_qty), "number"],
        ["Damaged", ({ damage_qty }) => count(damage_qty), "number"],
        ["Expected", ({ expected_qty }) => count(expected_qty), "number"],
        ["Variance", ({ variance }) => (variance ? badge("warn", signed(variance)) : signed(variance)), "number"],
        ["Moved since", ({ moved_since }) => signed(moved_since), "number"],
        ["Stock", ({ previous_quantity, new_quantity }) => `${count(previous_quantity)} → ${count(new_quantity)}`, "number"],
        ["Nobody saw", ({ shortfall }) => (shortfall ? badge("bad", count(shortfall)) : "0"), "number"],
        ["Became", ({ outcome, reason }) => (outcome ? `${write.words(outcome)}${reason ? `: ${reason}` : ""}` : "–")],
        ["Ledger", ({ variant_id }) => link(`/stock/${variant_id}`, "movements")],
      ], variances.lines, { key: ({ variant_id }) => variant_id, empty: "Nothing finalized was counted.", selected: ({ item_code }) => item_code === seen.item })),
    panel("Records", { wide: true, note: seen.item ? `of ${seen.item}: the evidence, as devices sent it` : "the evidence, as devices sent it; press an item to see its own" },
      table("Records", [
        ["Counted", ({ counted_at }) => time(counted_at)],
        ["Item", ({ item_code }) => item_code],
        ["Rack", ({ rack_id, floor }) => [rack_id ?? "–", floor && h("span", { class: "dim" }, ` ${floor}`)]],
        ["Units", ({ verified_qty }) => count(verified_qty), "number"],
        ["Damaged", ({ damage_qty }) => count(damage_qty), "number"],
        ["Serial numbers", ({ serial_numbers }) => serial_numbers.join(", ") || "–"],
        ["Status", ({ status }) => (status === "draft" ? badge("idle", "draft") : badge("ok", "finalized"))],
        ["Fence", ({ fence }) => fence ?? "–", "number"],
        ["Came", ({ synced_at }) => time(synced_at)],
      ], seen.records, { key: ({ client_record_id }) => client_record_id, empty: "There are none." }),
      more(seen.cursor, showMore)),
    panel("Conflicts of this session", { wide: true }, conflicts(room, seen.conflicts.items)),
  ];
}

function postIt(room, path, { session_id, open_conflicts }, { lines, next_cursor }) {
  const differing = lines.filter(({ variance }) => variance).length;
  return ask({
    title: "Post this session",
    text: `${session_id}: ${next_cursor ? "more than " : ""}${count(lines.length)} items are set to what was counted and what moved since; ${count(differing)} differ. `
      + `From then on nothing enters it.${open_conflicts ? ` ${count(open_conflicts)} conflicts are not resolved, and what they hold is not posted.` : ""}`,
    fields: [
      { name: "recount_over", label: "Count again what differs by more than", hint: "Left empty: all is posted. What is to be counted again does not move." },
      { name: "reason", label: "Why", hint: "Kept on each movement.", required: true, value: "counted" },
    ],
    confirm: "Post it",
    act: async ({ recount_over, reason }) => {
      const posted = await post(`${path}/post`, { reason, recount_over: wholeNumber(recount_over, "What is counted again") });
      room.say(`Posted: ${count(posted.lines.filter(({ outcome }) => outcome === "posted").length)} of ${count(posted.lines.length)} items.`);
    },
  });
}
