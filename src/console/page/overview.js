// How it goes: mode and its history, rates and times of the last minute, who waits, and what is hot.

import { lines, strip } from "./charts.js";
import { h } from "./dom.js";
import { badge, figure, figures, link, modeBadge, panel, table, write } from "./parts.js";

const { count, ms, rate, span, time } = write;
const LOOK_EVERY_MS = 1000;
const ITEMS_KNOWN = 200;
// So many changes of mode a process keeps. What was before the first of so many is not known.
const CHANGES_KEPT = 100;

export default {
  name: "",
  title: "Overview",
  scopes: ["operator"],
  open(room) {
    const skus = new Map();
    room.every(LOOK_EVERY_MS, async () => {
      const [status, locks] = await Promise.all([room.get("/status"), room.get("/locks/status")]);
      await name(room, skus, status.hot);
      room.show(view(status, locks, skus));
    });
  },
};

/** Items are named once: a poll asks for none that is known. */
async function name(room, skus, hot) {
  const unknown = hot.filter(({ variant_id }) => !skus.has(variant_id));
  if (skus.size > ITEMS_KNOWN) skus.clear();
  await Promise.all(unknown.map(async ({ variant_id }) => {
    const variant = await room.get(`/variants/${variant_id}`).catch(() => null);
    // Somebody may have asked for what does not exist: it has no name, and is not asked for again.
    skus.set(variant_id, variant?.sku ?? null);
  }));
}

function view(status, locks, skus) {
  const { last_minute: minute, seconds, pool, process, mode } = status;
  const over = Math.max(seconds.length, 1);
  const now = Date.parse(locks.timestamp);
  return [
    panel("Locks", { wide: true, note: `of this process, which runs for ${span(process.uptime_seconds)}` },
      h("p", { class: "lead" }, modeBadge(mode.lock_mode), " since ", time(mode.since), ` · ${mode.why}`),
      strip(mode.history, knownSince(mode.history, process.started_at), now, firstMode(mode)),
      changes(mode.history)),
    figures(
      figure("Writes", `${rate(minute.writes / over)}/s`, `${count(minute.writes)} in ${span(over)}`),
      figure("Writes, p50", ms(minute.write_ms?.p50), "half took no longer"),
      figure("Writes, p95", ms(minute.write_ms?.p95), "95 of 100 took no longer"),
      figure("Writes, p99", ms(minute.write_ms?.p99), "99 of 100 took no longer"),
      figure("Reads", `${rate(minute.reads / over)}/s`, `${count(minute.reads)} in ${span(over)}`),
      figure("Refused", count(minute.refused), "4xx in the last minute"),
      figure("Failed", minute.failed ? badge("bad", count(minute.failed)) : "0", "5xx in the last minute"),
      figure("In line", count(locks.waiters), `all replicas; here ${count(status.locks.waiting)}`),
      figure("Connections", `${pool.busy} of ${pool.max}`, pool.busy >= pool.max ? "all are busy" : `${pool.connections} open`)),
    panel("Writes a second", { note: "this process" },
      lines(`Writes in each of the last ${over} seconds; now ${count(seconds.at(-1)?.writes ?? 0)}.`, [
        { name: "writes", kind: "main", values: seconds.map((second) => second.writes) },
        { name: "refused", kind: "warn dashed", values: seconds.map((second) => second.refused) },
        { name: "failed", kind: "bad dotted", values: seconds.map((second) => second.failed) },
      ], count)),
    panel("How long writes take", { note: "this process" },
      lines(`Time of writes; half within ${ms(minute.write_ms?.p50)}, 99 of 100 within ${ms(minute.write_ms?.p99)}.`, [
        { name: "p50", kind: "main", values: seconds.map((second) => second.write_ms?.p50 ?? null) },
        { name: "p99", kind: "warn dashed", values: seconds.map((second) => second.write_ms?.p99 ?? null) },
      ], ms)),
    panel("Hot items", { note: "requests of the last 30 to 60 s, this process" },
      table("Hot items", [
        ["Item", ({ variant_id }) => link(`/stock/${variant_id}`, skus.get(variant_id) ?? write.id(variant_id))],
        ["Requests", ({ requests }) => count(requests), "number"],
        ["In line", ({ in_line }) => count(in_line), "number"],
      ], status.hot, { key: (hot) => hot.variant_id, empty: "Nobody wants anything." })),
    panel("Waits in the database", { note: locks.database_available ? "all replicas" : "Postgres can't be asked" },
      table("Waits in the database", [
        ["Waits for", ({ waiting_for }) => waiting_for],
        ["Seconds", ({ seconds: long }) => long.toFixed(1), "number"],
        ["Session", ({ pid }) => pid, "number"],
        ["Blocked by", ({ blocked_by }) => blocked_by.join(", ")],
        ["Statement", ({ query }) => h("code", {}, query)],
      ], locks.database_waits, { key: (wait) => wait.pid, empty: "Nobody waits for a lock in Postgres." })),
    panel("Since this process began", { wide: true },
      figures(
        figure("Taken over", count(status.locks.takeovers), "from replicas that died"),
        figure("Without Redis", count(status.locks.database_only), "leases by row locks alone"),
        figure("Lost", count(status.locks.lost), "before they were let go; harmless"),
        figure("Not given", count(status.locks.refused), "busy past the wait, too many, hung up"),
        figure("Stream readers", count(status.readers), "of this process"),
        figure("Stream waits", span(status.stream_lag_seconds), "for transactions that last, or for Postgres"))),
  ];
}

/** Since when its modes are known. */
export const knownSince = (history, startedAt) => (history.length < CHANGES_KEPT ? startedAt : history[0].at);

/** What it was before its first change. */
function firstMode({ lock_mode, history }) {
  if (history.length === 0) return lock_mode;
  return history[0].mode === "two_layer" ? "database_only" : "two_layer";
}

function changes(history) {
  if (history.length === 0) return null;
  return table("Changes of mode", [
    ["When", ({ at }) => time(at)],
    ["Became", ({ mode }) => modeBadge(mode)],
    ["Why", ({ why }) => why],
  ], history.slice(-6).reverse(), { key: ({ at, mode }) => `${at} ${mode}` });
}
