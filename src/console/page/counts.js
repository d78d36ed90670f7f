// Counting, for warehouse leads: floors and racks as they are now, who counts where, what is to be decided.

import { post } from "./api.js";
import { ask } from "./ask.js";
import { conflicts, howMany, inbox } from "./conflicts.js";
import { h, s } from "./dom.js";
import { IMPORTED, importFile, imports } from "./imports.js";
import { badge, button, figure, figures, filters, link, more, panel, table, write } from "./parts.js";
import { session } from "./variances.js";

const { count, span, time } = write;
const LOOK_EVERY_MS = 3000;
const PAGE = 100;

export default {
  name: "counts",
  title: "Counting",
  scopes: ["warehouse"],
  open(room) {
    if (room.args[0]) session(room, room.args[0]);
    else floors(room);
  },
};

const RACK = { available: ["idle", "to be counted"], active: ["busy", "counted now"], paused: ["warn", "paused"], completed: ["ok", "counted"] };

function floors(room) {
  const seen = { floor: "", state: "", floors: null, racks: null, cursor: null, present: [], sessions: null };
  const racks = async (cursor) => {
    const page = await room.get("/racks", { floor: seen.floor, state: seen.state, cursor, limit: PAGE });
    seen.racks = cursor ? [...seen.racks, ...page.items] : page.items;
    seen.cursor = page.next_cursor;
  };
  const draw = () => room.show(view(room, seen, async (change, cursor) => {
    Object.assign(seen, change);
    await room.attempt(() => racks(cursor));
    draw();
  }));
  seen.inbox = inbox(room, {}, draw);
  draw();
  document.addEventListener(IMPORTED, draw, { signal: room.signal });
  room.every(LOOK_EVERY_MS, async () => {
    const [all, present, sessions] = await Promise.all([
      room.get("/racks/floors"), room.get("/presence"), room.get("/sessions", { limit: 30 }), seen.inbox.look(),
      (seen.racks?.length ?? 0) <= PAGE && racks(),
    ]);
    [seen.floors, seen.present, seen.sessions] = [all.floors, present.items, sessions.items];
    draw();
  });
}

function view(room, seen, choose) {
  const sum = (name) => (seen.floors ?? []).reduce((all, floor) => all + floor[name], 0);
  return [
    imports(),
    figures(
      figure("Counted", `${count(sum("completed"))} of ${count(sum("racks"))}`, "racks, all floors"),
      figure("Counted now", count(sum("active"))),
      figure("Paused", count(sum("paused"))),
      figure("Counters", count(new Set(seen.present.map(({ user_id }) => user_id)).size), "heard of within 90 s"),
      figure("To resolve", seen.inbox.items?.length ? badge("warn", howMany(seen.inbox)) : "0", "conflicts")),
    panel("Floors", {},
      table("Floors", [
        ["Floor", ({ floor }) => button(floor, () => choose({ floor: seen.floor === floor ? "" : floor }), { "aria-pressed": String(seen.floor === floor) })],
        ["Progress", progress],
        ["Counted", ({ completed, racks }) => `${count(completed)} of ${count(racks)}`, "number"],
        ["Now", ({ active }) => count(active), "number"],
        ["Paused", ({ paused }) => count(paused), "number"],
      ], seen.floors, { key: ({ floor }) => floor, empty: "No rack is registered: the first claim of one registers it." })),
    panel("Who counts", { note: "heard of within 90 s", actions: room.isOperator ? button("Open a session …", () => openSession(room)) : null },
      table("Who counts", [
        ["Counter", ({ user_id }) => user_id],
        ["Rack", ({ rack_id }) => rack_id ?? "–"],
        ["Session", ({ session_id }) => link(`/counts/${encodeURIComponent(session_id)}`, write.id(session_id))],
        ["Heard of", ({ last_heartbeat_at }) => time(last_heartbeat_at)],
      ], seen.present, { key: ({ session_id }) => session_id, empty: "Nobody counts." })),
    panel("Racks", { wide: true, actions: button("Import …", importFile), note: seen.floor ? `of floor ${seen.floor}` : "of all floors" },
      filters([
        { name: "floor", label: "Floor", value: seen.floor, options: [["", "all"], ...(seen.floors ?? []).map(({ floor }) => [floor, floor])] },
        { name: "state", label: "State", value: seen.state, options: [["", "all"], ...Object.entries(RACK).map(([state, [, text]]) => [state, text])] },
      ], (given) => choose(given)),
      table("Racks", [
        ["Rack", ({ rack_id }) => rack_id],
        ["Floor", ({ floor }) => floor],
        ["Name", ({ name }) => name ?? "–"],
        ["State", ({ state }) => badge(...(RACK[state] ?? ["idle", state]))],
        ["Counter", ({ holder }) => (holder ? link(`/counts/${encodeURIComponent(holder.session_id)}`, holder.user_id) : "–")],
        ["Since", ({ holder }) => time(holder?.claimed_at)],
        ["Claim ends in", ({ holder }) => (holder ? span((Date.parse(holder.expires_at) - Date.now()) / 1000) : "–"), "number"],
        ["Fence", ({ holder }) => holder?.fence ?? "–", "number"],
      ], seen.racks, { key: ({ rack_id }) => rack_id, empty: "There is no such rack." }),
      more(seen.cursor, () => choose({}, seen.cursor))),
    conflicts(room, seen.inbox, "Conflicts to resolve", "the oldest first; nothing of what was sent is lost"),
    panel("Sessions", { wide: true, note: "the last heard of first" },
      table("Sessions", [
        ["Session", ({ session_id }) => link(`/counts/${encodeURIComponent(session_id)}`, write.id(session_id))],
        ["Counter", ({ user_id, blind }) => (blind ? `${user_id} (blind)` : user_id)],
        ["State", ({ state }) => badge(...({ open: ["busy", "open"], lapsed: ["idle", "silent for an hour"], posting: ["warn", "being posted"], posted: ["ok", "posted"], discarded: ["idle", "given up"] }[state] ?? ["idle", state]))],
        ["Rack", ({ rack_id }) => rack_id ?? "–"],
        ["Counted", ({ finalized_records }) => count(finalized_records), "number"],
        ["Drafts", ({ draft_records }) => count(draft_records), "number"],
        ["Conflicts", ({ open_conflicts }) => (open_conflicts ? badge("warn", count(open_conflicts)) : "0"), "number"],
        ["Heard of", ({ last_heartbeat_at }) => time(last_heartbeat_at)],
      ], seen.sessions, { key: ({ session_id }) => session_id, empty: "Nothing was counted yet." })),
  ];
}

/** Opens a session for a counter, so that it counts without seeing what is expected. */
function openSession(room) {
  return ask({
    title: "Open a session for a counter",
    text: "The counter's device names it when it claims a rack or sends what it counted.",
    fields: [
      { name: "user_id", label: "Counter", hint: "The subject of the counter's key.", required: true },
      { name: "session_id", label: "Name", hint: "What the device calls it. Left empty: it is given one." },
      { name: "blind", label: "Blind: the counter sees no expectations, and somebody else posts the count", kind: "check", value: true },
    ],
    confirm: "Open it",
    act: async ({ user_id, session_id, blind }) => {
      const opened = await post("/sessions", { user_id, session_id: session_id || undefined, blind });
      room.say(`Session ${opened.session_id} is open for ${opened.user_id}${opened.blind ? ", who counts blind" : ""}.`);
    },
  });
}

/** Counted, and counted now beside it, of all racks of a floor. */
function progress({ racks, completed, active, paused }) {
  const part = (number) => (racks ? (number / racks) * 100 : 0);
  const label = `${count(completed)} of ${count(racks)} counted, ${count(active + paused)} under way`;
  return h("span", { class: "meter" }, s("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("rect", { class: "done", width: part(completed), height: 1 }),
    s("rect", { class: "now", x: part(completed), width: part(active + paused), height: 1 })));
}
