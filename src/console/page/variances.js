// A session: what was counted, what was expected, what speaks against it and the records behind it; alone, or as one count
// with others.

import { download, post } from "./api.js";
import { ask, REASON } from "./ask.js";
import { conflicts, inbox } from "./conflicts.js";
import { h } from "./dom.js";
import { badge, button, facts, filters, link, more, panel, table, write } from "./parts.js";
import { decide, decision, postIt } from "./posting.js";

const { count, signed, time } = write;
const LOOK_EVERY_MS = 3000;
const PAGE = 100;
const ALL = 1000;
const AGAINST = {
  too_far: "too far off", counted_since: "a newer count was posted", counted_elsewhere: "counted elsewhere too",
  counted_twice: "perhaps counted twice",
};
const IS_OPEN = new Set(["open", "lapsed"]);

/** The page of one session. */
export function session(room, sessionId) {
  const path = `/sessions/${encodeURIComponent(sessionId)}`;
  // `others`: sessions that may be one count with this one, by their ids; `together`: those of them that are chosen.
  const seen = { path, item: null, records: null, cursor: null, lines: [], after: null, of: null, others: new Map(), together: new Set(), decisions: new Map() };
  const records = async (cursor) => {
    const page = await room.get(`${path}/records`, { item_code: seen.item ?? "", cursor, limit: PAGE });
    seen.records = cursor ? [...seen.records, ...page.items] : page.items;
    seen.cursor = page.next_cursor;
  };
  const lines = async (cursor) => {
    const page = await room.get(`${path}/variances`, { session_ids: named(seen), cursor, limit: PAGE });
    seen.of = page;
    seen.lines = cursor ? [...seen.lines, ...page.lines] : page.lines;
    seen.after = page.next_cursor;
  };
  const draw = () => room.show(view(room, seen, acts));
  const soon = (act) => room.attempt(async () => {
    await act();
    draw();
  });
  const acts = {
    draw,
    choose: (item) => soon(async () => {
      [seen.item, seen.cursor] = [item, null];
      await records();
    }),
    join: (id, is) => soon(async () => {
      if (is) await meet(room, seen, [id], true);
      else seen.together.delete(id);
      // They were made on other lines.
      seen.decisions.clear();
      await lines();
    }),
    moreLines: () => soon(() => lines(seen.after)),
    allLines: async () => {
      const [all, session_ids] = [[], named(seen)];
      let cursor;
      do {
        const page = await room.get(`${path}/variances`, { session_ids, cursor, limit: ALL });
        all.push(...page.lines);
        cursor = page.next_cursor;
      } while (cursor);
      return all;
    },
    moreRecords: () => soon(() => records(seen.cursor)),
  };
  seen.inbox = inbox(room, { session_id: sessionId }, draw);
  let first = true;
  room.every(LOOK_EVERY_MS, async () => {
    [seen.session] = await Promise.all([
      room.get(path), seen.inbox.look(),
      (seen.records?.length ?? 0) <= PAGE && records(),
    ]);
    // Those of one count are posted, and told, as one.
    if (seen.session.posted_as) seen.together.clear();
    if (seen.lines.length <= PAGE) await lines().catch((error) => alone(error, seen, lines));
    const elsewhere = seen.lines.flatMap(({ also_in }) => also_in).filter((id) => !seen.others.has(id));
    if (elsewhere.length) await meet(room, seen, new Set(elsewhere), first);
    // What others counted of these items belongs to the same count: they are chosen, to begin with.
    if (first && seen.together.size) await lines();
    first = false;
    draw();
  });
}

/** The chosen sessions as the service takes them: there may be commas in their ids. */
const named = ({ together }) => (together.size ? JSON.stringify([...together]) : "");

/** Looks at sessions that may be one count with this one, and chooses them if they still can be. */
async function meet(room, seen, ids, isChosen) {
  for (const id of ids) {
    const other = await room.get(`/sessions/${encodeURIComponent(id)}`);
    if (id === seen.session.session_id) continue;
    seen.others.set(id, other);
    if (isChosen && IS_OPEN.has(other.state)) seen.together.add(id);
  }
}

/** Somebody has posted or discarded one of them meanwhile: what is left is looked at alone. */
async function alone(error, seen, lines) {
  if (error.code !== "session_posted" || !seen.together.size) throw error;
  seen.together.clear();
  seen.others.clear();
  seen.decisions.clear();
  await lines();
}

function view(room, seen, acts) {
  const { path, session: one, lines } = seen;
  const isPosted = Boolean(one.posted_at);
  const differing = lines.filter(({ variance }) => variance);
  const query = seen.together.size ? `?session_ids=${encodeURIComponent(named(seen))}` : "";
  return [
    h("p", {}, link("/counts", "Counting"), ` / ${one.session_id}`),
    panel("Session", { wide: true, actions: [
      button("Export", () => room.attempt(() => download(`${path}/export${query}`, `count-${one.session_id}.csv`))),
      IS_OPEN.has(one.state) ? button("Discard …", () => discard(room, path, one)) : null,
      isPosted || one.discarded_at ? null : button(seen.together.size ? "Post them …" : "Post it …", () => room.attempt(() => postIt(room, seen, acts.allLines)), { class: "primary" }),
    ] },
      facts([
        ["Counter", one.blind ? `${one.user_id} (sees no expectations)` : one.user_id],
        ["State", one.state], ["Rack", one.rack_id], ["Opened", time(one.opened_at)], ["Heard of", time(one.last_heartbeat_at)],
        isPosted && ["Posted", [time(one.posted_at), ` by ${one.posted_by}`]],
        one.posted_as && seen.of.session_ids.length > 1 && ["One count", seen.of.session_ids.map((id) => [sessionLink(id), " "])],
        ["Records", `${count(one.finalized_records)} finalized, ${count(one.draft_records)} drafts`],
      ])),
    IS_OPEN.has(one.state) && together(room, seen, acts),
    panel("Variances", { wide: true, note: `${count(differing.length)} of ${count(lines.length)} items differ; ${isPosted ? "as posted" : "as posting now would have it"}${seen.after ? "; these are the first, the export has all" : ""}` },
      table("Variances", [
        ["Item", ({ item_code }) => button(item_code, () => acts.choose(seen.item === item_code ? null : item_code), { "aria-pressed": String(seen.item === item_code) })],
        ["Counted", ({ counted_qty }) => count(counted_qty), "number"],
        ["Damaged", ({ damage_qty }) => count(damage_qty), "number"],
        ["Expected", ({ expected_qty }) => count(expected_qty), "number"],
        ["Variance", ({ variance }) => (variance ? badge("warn", signed(variance)) : signed(variance)), "number"],
        ["Moved since", ({ moved_since }) => signed(moved_since), "number"],
        ["Stock", ({ previous_quantity, new_quantity }) => `${count(previous_quantity)} → ${count(new_quantity)}`, "number"],
        ["Nobody saw", ({ shortfall }) => (shortfall ? badge("bad", count(shortfall)) : "0"), "number"],
        ["Against it", against],
        ["Became", (line) => (one.posted_as ? became(line) : [decision(seen, line), " ", button("Decide …", () => decide(seen, line, acts.draw), { "aria-label": `Decide on ${line.item_code}` })])],
        ["Ledger", ({ variant_id }) => link(`/stock/${variant_id}`, "movements")],
      ], lines, { key: ({ variant_id }) => variant_id, empty: "Nothing finalized was counted.", selected: ({ item_code }) => item_code === seen.item }),
      more(seen.after, acts.moreLines)),
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
      more(seen.cursor, acts.moreRecords)),
    conflicts(room, seen.inbox, "Conflicts of this session"),
  ];
}

function discard(room, path, { session_id, finalized_records }) {
  return ask({
    title: "Give this session up",
    text: `Nothing enters ${session_id} any more, and nothing of its ${write.many(finalized_records, "record")} is posted: they stay as evidence. Its serial numbers may be counted anew. There is no way back.`,
    fields: [REASON],
    confirm: "Give it up",
    act: async ({ reason }) => {
      await post(`${path}/discard`, { reason });
      room.say(`${session_id} is given up.`);
    },
  });
}

const sessionLink = (id) => link(`/counts/${encodeURIComponent(id)}`, write.id(id));

const against = ({ recount_because, also_in }) => (recount_because
  ? [badge("warn", AGAINST[recount_because] ?? write.words(recount_because)), also_in.length ? [" in ", also_in.map((id) => [sessionLink(id), " "])] : null]
  : "–");

const became = ({ outcome, reason }) => (outcome ? `${write.words(outcome)}${reason ? `: ${reason}` : ""}` : "–");

/** Which sessions are one count with this one. */
function together(room, { session: one, others, together: chosen }, { join }) {
  return panel("Posted together", { wide: true, note: "a count sets the whole of an item's stock: what several devices counted of it is posted as one" },
    table("Sessions that counted these items too", [
      ["With it", ({ session_id, state }) => h("input", {
        type: "checkbox", checked: chosen.has(session_id), disabled: !IS_OPEN.has(state), "aria-label": `With ${session_id}`,
        onchange: (event) => join(session_id, event.currentTarget.checked),
      })],
      ["Session", ({ session_id }) => sessionLink(session_id)],
      ["Counter", ({ user_id }) => user_id],
      ["State", ({ state }) => state],
      ["Rack", ({ rack_id }) => rack_id ?? "–"],
      ["Counted", ({ finalized_records }) => count(finalized_records), "number"],
    ], [...others.values()], { key: ({ session_id }) => `${session_id} ${chosen.has(session_id)}`, empty: `No other session counted what ${one.session_id} did.` }),
    filters([{ name: "session_id", label: "Another session", wide: true }], ({ session_id }) => session_id && join(session_id, true), "Add it"));
}
