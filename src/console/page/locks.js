// Live locks: who holds what, for how much longer, who waits; and taking one away, with a reason.

import { post } from "./api.js";
import { ask, REASON } from "./ask.js";
import { h } from "./dom.js";
import { badge, button, figure, figures, modeBadge, panel, table, write } from "./parts.js";

const { count, span } = write;
const LOOK_EVERY_MS = 1000;

export default {
  name: "locks",
  title: "Locks",
  scopes: ["operator"],
  open(room) {
    const seen = new Map();
    room.every(LOOK_EVERY_MS, async () => {
      const [locks, status] = await Promise.all([room.get("/locks/status"), room.get("/status")]);
      note(seen, locks);
      room.show(view(room, locks, status, seen));
    });
  },
};

/** Since when this page has seen each lock in the same hands: Redis knows when a lock ends, not when it was taken. */
export function note(seen, { locks, timestamp }) {
  const now = Date.parse(timestamp);
  const live = new Set(locks.map(({ key }) => key));
  for (const key of seen.keys()) if (!live.has(key)) seen.delete(key);
  for (const { key, owner } of locks) {
    if (seen.get(key)?.owner !== owner) seen.set(key, { owner, since: now });
  }
}

function view(room, locks, { locks: tallies }, seen) {
  const now = Date.parse(locks.timestamp);
  return [
    figures(
      figure("Mode", modeBadge(locks.lock_mode), `breaker ${write.words(locks.breaker.state)}`),
      figure("Held", count(locks.total_active_locks), `${count(locks.inventory_locks)} of items, ${count(locks.custom_locks)} others`),
      figure("In line", count(locks.waiters), "all replicas"),
      figure("Taken over", count(tallies.takeovers), "from dead replicas, by this process"),
      figure("Not given", count(tallies.refused), "by this process since it began")),
    panel("Held now", { wide: true, note: locks.lock_service_available
      ? "all replicas, those that most wait for first" : "Redis can't be asked: of this process alone" },
      table("Locks that are held now", [
        ["Lock", ({ key }) => h("code", {}, key)],
        ["Kind", ({ class: kind }) => kind],
        ["In line", ({ waiters }) => (waiters ? badge("busy", count(waiters)) : "0"), "number"],
        ["Held for", ({ key, held_ms }) => (held_ms === null ? `seen ${span((now - seen.get(key).since) / 1000)}` : span(held_ms / 1000)), "number"],
        ["Ends in", ({ ttl_ms }) => (ttl_ms === null ? "–" : span(ttl_ms / 1000)), "number"],
        ["Holder", holder],
        ["", (lock) => releasing(room, lock), "action"],
      ], locks.locks, { key: ({ key }) => key, empty: "Nobody holds a lock." })),
  ];
}

/** Who holds a lock: the process, and what tells its holders apart. */
export const holder = ({ replica, owner }) => [replica, owner && h("code", { class: "dim" }, ` ${owner.slice(0, 8)}`)];

/** The button that takes a lock away. */
export const releasing = (room, lock) => button("Release", () => release(room, lock), { "aria-label": `Release ${lock.key}` });

function release(room, { key, waiters }) {
  return ask({
    title: "Release this lock",
    text: `${key}: it is taken away from its holder, and the next of ${count(waiters)} in line goes on. What the holder still `
      + "writes stays safe by its row locks. A claim on a rack or a file ends, and what its holder sends after that is refused.",
    fields: [REASON],
    confirm: "Release",
    act: async ({ reason }) => {
      await post(`/locks/${encodeURIComponent(key)}/release`, { reason });
      room.say(`Released ${key}.`);
    },
  });
}
