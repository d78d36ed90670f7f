// The tail of the event stream: what happens, as it happens, without a gap over a broken connection.

import { events } from "./api.js";
import { h } from "./dom.js";
import { badge, button, filters, folded, panel, raw, table, write } from "./parts.js";

const KEPT = 200;
const AGAIN_FIRST_MS = 500;
const AGAIN_LAST_MS = 10_000;
const FAMILIES = ["stock.*", "order.*", "hold.*", "rack.*", "session.*", "count.*", "invoice.*", "lock.*"];

export default {
  name: "events",
  title: "Events",
  scopes: ["storefront", "warehouse", "finance"],
  open(room) {
    const tail = { told: [], lastId: "", types: "", state: "connecting", why: "", held: null, missed: 0 };
    follow(room, tail);
  },
};

async function follow(room, tail) {
  let connection = null;
  let drawing = false;
  const draw = () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      room.show(view(tail, actions));
    });
  };
  const actions = {
    hold() {
      tail.held = tail.held ? null : [...tail.told];
      tail.missed = 0;
      draw();
    },
    choose({ types }) {
      Object.assign(tail, { types, told: [], lastId: "", held: null });
      connection?.abort();
    },
  };
  room.signal.addEventListener("abort", () => connection?.abort());
  let pause = AGAIN_FIRST_MS;
  while (!room.signal.aborted) {
    connection = new AbortController();
    tail.state = "connecting";
    draw();
    try {
      for await (const told of events({ lastId: tail.lastId, types: tail.types, signal: connection.signal })) {
        if (told.id) tail.lastId = told.id;
        [tail.state, tail.why, pause] = [tail.lastId ? "connected" : "beginning", "", AGAIN_FIRST_MS];
        if (told.data) {
          tail.told.unshift({ ...told, at: new Date().toISOString() });
          tail.told.length = Math.min(tail.told.length, KEPT);
          if (tail.held) tail.missed += 1;
        }
        draw();
      }
      tail.why = "The stream ended.";
    } catch (error) {
      if (room.signal.aborted) return;
      if (error.name === "AbortError") continue;
      tail.why = error.message;
      // What came between is not kept any more: from now on, and it is said that something is missing.
      if (error.status === 410) Object.assign(tail, { lastId: "", why: `${error.message} Some events are missing here.` });
      if (error.status === 401) return room.attempt(() => Promise.reject(error));
    }
    tail.state = "broken";
    draw();
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 2, AGAIN_LAST_MS);
  }
}

function view(tail, { hold, choose }) {
  const shown = tail.held ?? tail.told;
  const state = { connected: badge("ok", "connected"), connecting: badge("idle", "connecting"),
    beginning: badge("busy", "begins when what is being written now has been"), broken: badge("bad", "broken off") };
  return [
    filters([{ name: "types", label: "Of which family", value: tail.types,
      options: [["", "all I may see"], ...FAMILIES.map((family) => [family, family])] }], choose),
    panel("What happens", { wide: true,
      note: `newest first, the last ${KEPT}`,
      actions: button(tail.held ? `Go on (${tail.missed} more)` : "Hold still", hold, { "aria-pressed": String(Boolean(tail.held)) }) },
    h("p", { class: "lead" }, state[tail.state], tail.lastId && h("span", { class: "dim" }, ` at ${tail.lastId}`), tail.why && ` ${tail.why}`),
    table("Events", [
      ["Came", ({ at }) => write.time(at)],
      ["Id", ({ id }) => id, "number"],
      ["Type", ({ event }) => h("code", {}, event)],
      ["What", ({ id, data }) => folded(summary(data), `event-${id}`, raw(data))],
    ], shown, { key: ({ id }) => id, empty: "Nothing has happened since this page was opened." })),
  ];
}

/** The one line that tells most. */
function summary(data) {
  if (data.delta !== undefined) return `${data.kind} ${write.signed(data.delta)}: ${data.previous_quantity} → ${data.new_quantity}`;
  if (data.order_id && data.lines) return `${data.user_id}: ${data.total} ${data.currency}, ${data.lines.length} lines, ${write.words(data.status)}`;
  if (data.mode) return `${write.words(data.mode)}: ${data.why}`;
  if (data.stock_status) return `${write.words(data.stock_status)}, ${data.available} available`;
  return data.message ?? ["rack_id", "session_id", "hold_id", "invoice_number", "name"].map((name) => data[name]).filter(Boolean).join(" · ")
    ?? "";
}
