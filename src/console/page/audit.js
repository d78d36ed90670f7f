// The audit: its last verdicts, and a button to run it.

import { get } from "./api.js";
import { ask } from "./ask.js";
import { h } from "./dom.js";
import { badge, button, figure, figures, folded, panel, table, write } from "./parts.js";

const { count, time } = write;
const LOOK_EVERY_MS = 5000;
const PAGE = 20;
// As long as the service gives it.
const AUDIT_MAX_MS = 600_000;

export default {
  name: "audit",
  title: "Audit",
  scopes: ["operator"],
  open(room) {
    const seen = { audits: null, running: false };
    const draw = () => room.show(view(room, seen, run));
    const look = async () => {
      seen.audits = (await room.get("/inventory/audits", { limit: PAGE })).items;
      draw();
    };
    const run = () => ask({
      title: "Run the audit",
      text: "Every balance is computed anew from its movements and every order from its lines, as of one moment, while the "
        + "shop goes on. It reads all of it: with millions of movements that takes minutes, and one connection. It repairs nothing.",
      confirm: "Run it",
      act: async () => {
        seen.running = true;
        draw();
        // Whoever leaves the page does not stop it: its verdict stands here afterwards.
        get("/inventory/audit", {}, { limit: AUDIT_MAX_MS }).then(({ ok, violations }) =>
          room.say(ok ? "The audit found nothing." : `The audit found ${write.many(violations.length, "violation")}.`),
        (error) => room.say(`The audit did not end: ${error.message}`)).finally(() => {
          seen.running = false;
          if (!room.signal.aborted) room.attempt(look);
        });
      },
    });
    draw();
    room.every(LOOK_EVERY_MS, look);
  },
};

const verdict = ({ ok, violations }) => (ok ? badge("ok", "all agrees") : badge("bad", write.many(violations.length, "violation")));

function view(room, { audits, running }, run) {
  const last = audits?.[0];
  return [
    figures(
      figure("Last verdict", last ? verdict(last) : badge("idle", audits ? "never run" : "looking"), last && write.ago(last.ended_at)),
      figure("Items", count(last?.variants_checked)),
      figure("Movements", count(last?.movements_checked)),
      figure("Orders", count(last?.orders_checked)),
      figure("Took", write.ms(last?.took_ms))),
    panel("Run it", { wide: true }, h("p", {}, running ? badge("busy", "running") : null, " ",
      button(running ? "It runs …" : "Run the audit", run, { disabled: running, class: "primary" }))),
    last && !last.ok && panel("What does not agree", { wide: true, note: "at most 100 of each kind; nothing repairs silently" },
      table("Violations", [
        ["Invariant", ({ invariant }) => write.words(invariant)],
        ["Of", ({ subject_id }) => h("code", {}, subject_id)],
        ["What it should be and what it is", ({ detail }) => detail],
      ], last.violations, { key: ({ invariant, subject_id, detail }) => `${invariant} ${subject_id} ${detail}` })),
    panel("Verdicts so far", { wide: true, note: "of all replicas and the command line, newest first" },
      table("Verdicts so far", [
        ["Ended", ({ ended_at }) => time(ended_at)],
        ["Verdict", (audit) => (audit.ok ? verdict(audit) : folded(verdict(audit), `of-${audit.audit_id}`,
          h("ul", {}, audit.violations.slice(0, 10).map(({ invariant, detail }) => h("li", {}, `${write.words(invariant)}: ${detail}`)))))],
        ["Run by", ({ run_by }) => run_by],
        ["Movements", ({ movements_checked }) => count(movements_checked), "number"],
        ["Took", ({ took_ms }) => write.ms(took_ms), "number"],
      ], audits, { key: ({ audit_id }) => audit_id, empty: "It was never run." })),
  ];
}
