// Webhooks: programs that are told of events, what became of each delivery; and cancellations that came in.

import { post } from "./api.js";
import { ask, REASON } from "./ask.js";
import { h } from "./dom.js";
import { badge, button, facts, filters, folded, link, more, panel, raw, table, write } from "./parts.js";

const { count, time } = write;
const LOOK_EVERY_MS = 3000;
const PAGE = 50;

export default {
  name: "webhooks",
  title: "Webhooks",
  scopes: ["operator"],
  open(room) {
    if (room.args[0]) endpoint(room, room.args[0]);
    else both(room);
  },
};

const BREAKERS = { closed: ["ok", "well"], open: ["warn", "left alone for a while"], gone: ["bad", "gone for good"] };
const breaker = ({ breaker: state }) => badge(...(BREAKERS[state] ?? ["idle", state]));

function both(room) {
  const seen = { endpoints: null, inbox: null, cursor: null, state: "" };
  const draw = () => room.show(
    panel("Endpoints", { wide: true, note: "programs that are told of events" },
      table("Endpoints", [
        ["Address", ({ endpoint_id, url }) => link(`/webhooks/${endpoint_id}`, url)],
        ["State", breaker],
        ["Wants", ({ types }) => (types.length ? types.join(", ") : "all")],
        ["Failures in a row", ({ failures }) => count(failures), "number"],
        ["On their way", ({ pending }) => count(pending), "number"],
        ["Given up", ({ dead }) => (dead ? badge("bad", count(dead)) : "0"), "number"],
      ], seen.endpoints, { key: ({ endpoint_id }) => endpoint_id, empty: "Nobody is told by webhook." })),
    panel("Inbox", { wide: true, note: "cancellations that others sent, newest first" },
      filters([{ name: "state", label: "Which", value: seen.state, options: [["", "all"],
        ...["cancelled", "already_cancelled", "waiting_for_order", "refused"].map((state) => [state, write.words(state)])] }],
      ({ state }) => {
        [seen.state, seen.cursor] = [state, null];
        room.attempt(inbox);
      }),
      table("Inbox", [
        ["Came", ({ received_at }) => time(received_at)],
        ["Event", ({ event_id }) => h("code", {}, event_id)],
        ["Became", ({ state }) => outcome(state)],
        ["Order", ({ order_id }) => (order_id ? link(`/orders/${order_id}`, write.id(order_id)) : "–")],
        ["Says", ({ entry_id, data }) => folded(data.reason ?? "data", `entry-${entry_id}`, raw(data))],
        ["", (entry) => button("Replay", () => replayEntry(room, entry), { "aria-label": `Replay ${entry.event_id}` }), "action"],
      ], seen.inbox, { key: ({ entry_id }) => entry_id, empty: "Nothing came in." }),
      more(seen.cursor, () => room.attempt(() => inbox(seen.cursor)))));
  const inbox = async (cursor) => {
    const page = await room.get("/webhooks/inbox", { state: seen.state, cursor, limit: PAGE });
    seen.inbox = cursor ? [...seen.inbox, ...page.items] : page.items;
    seen.cursor = page.next_cursor;
    draw();
  };
  draw();
  room.every(LOOK_EVERY_MS, async () => {
    seen.endpoints = (await room.get("/webhook-endpoints")).items;
    // Further pages are not asked for again and again.
    if ((seen.inbox?.length ?? 0) <= PAGE) await inbox();
    else draw();
  });
}

function outcome(state) {
  const kinds = { cancelled: "ok", already_cancelled: "idle", waiting_for_order: "busy", refused: "bad" };
  return badge(kinds[state] ?? "idle", write.words(state));
}

function replayEntry(room, { entry_id, event_id }) {
  return ask({
    title: "Carry this event out again",
    text: `${event_id} is carried out as if it were delivered again: what was done is not done twice. It is kept that you did, and why.`,
    fields: [REASON],
    confirm: "Replay",
    act: async ({ reason }) => {
      const { result } = await post(`/webhooks/inbox/${entry_id}/replay`, { reason });
      room.say(`Replayed ${event_id}: ${write.words(result)}.`);
    },
  });
}

function endpoint(room, endpointId) {
  const seen = { state: "", items: null, cursor: null };
  const path = `/webhook-endpoints/${encodeURIComponent(endpointId)}`;
  const deliveries = async (cursor) => {
    const page = await room.get(`${path}/deliveries`, { state: seen.state, cursor, limit: PAGE });
    seen.items = cursor ? [...seen.items, ...page.items] : page.items;
    seen.cursor = page.next_cursor;
  };
  const replay = (body, title, text) => ask({ title, text, fields: [REASON], confirm: "Send again", act: async ({ reason }) => {
    // A call ends in time, and says from where the next one goes on.
    let [all, cursor] = [0, undefined];
    do {
      const { replayed, next_cursor } = await post(`${path}/replay`, { ...body, reason, cursor });
      [all, cursor] = [all + replayed, next_cursor];
      room.say(`${count(all)} sent again${cursor ? " so far" : ""}.`);
    } while (cursor);
  } });
  const draw = () => room.show(
    h("p", {}, link("/webhooks", "All endpoints"), ` / ${seen.endpoint.url}`),
    panel("Endpoint", { wide: true, actions: button("Send all given up again", () => replay({ state: "dead" },
      "Send all that were given up again", `To ${seen.endpoint.url}. It also opens the way to an endpoint that is left alone or gone.`)) },
    facts([
      ["Address", seen.endpoint.url], ["State", breaker(seen.endpoint)],
      ["Wants", seen.endpoint.types.length ? seen.endpoint.types.join(", ") : "all"],
      ["Failures in a row", count(seen.endpoint.failures)], ["On their way", count(seen.endpoint.pending)],
      ["Given up", count(seen.endpoint.dead)], ["Since", time(seen.endpoint.created_at)],
    ])),
    panel("Deliveries", { wide: true, note: "newest first; kept for 7 days" },
      filters([{ name: "state", label: "Which", value: seen.state,
        options: [["", "all"], ["pending", "on their way"], ["delivered", "delivered"], ["dead", "given up"]] }],
      ({ state }) => {
        seen.state = state;
        room.attempt(async () => {
          await deliveries();
          draw();
        });
      }),
      table("Deliveries", [
        ["Found", ({ created_at }) => time(created_at)],
        ["Type", ({ type }) => h("code", {}, type)],
        ["State", ({ state }) => badge(...({ delivered: ["ok", "delivered"], pending: ["busy", "on its way"], dead: ["bad", "given up"] }[state]))],
        ["Attempts", ({ attempts }) => count(attempts), "number"],
        ["Answered", ({ last_status }) => last_status ?? "–", "number"],
        ["Why not", ({ last_error }) => last_error ?? "–"],
        ["Next", ({ next_attempt_at }) => time(next_attempt_at)],
        ["", ({ delivery_id, type }) => button("Send again", () => replay({ delivery_id }, "Send this again",
          `${type}, whatever became of it. Its receiver knows it by the same webhook-id.`), { "aria-label": `Send ${type} again` }), "action"],
      ], seen.items, { key: ({ delivery_id }) => delivery_id, empty: "There is none." }),
      more(seen.cursor, () => room.attempt(async () => {
        await deliveries(seen.cursor);
        draw();
      }))));
  room.every(LOOK_EVERY_MS, async () => {
    seen.endpoint = await room.get(path);
    if ((seen.items?.length ?? 0) <= PAGE) await deliveries();
    draw();
  });
}
