// Posting a count: what a person decides of its lines, and doing it.

import { post } from "./api.js";
import { ask, wholeNumber } from "./ask.js";
import { badge, write } from "./parts.js";

const { count } = write;
const REASONS = ["miscounted", "lost", "stolen", "broken", "expired", "misplaced", "booked_wrong"];
const DECISIONS = { approve: ["ok", "approved"], reject: ["bad", "rejected"] };

/** What was decided of a line. */
export function decision({ decisions }, { item_code }) {
  const made = decisions.get(item_code);
  if (!made) return null;
  const [kind, text] = DECISIONS[made.decision];
  return badge(kind, made.reason ? `${text}: ${write.words(made.reason)}` : text);
}

/** Asks what is to become of a line. It is kept on the page until the count is posted. */
export function decide({ decisions }, { item_code, counted_qty, expected_qty }, draw) {
  const made = decisions.get(item_code);
  return ask({
    title: `Decide on ${item_code}`,
    text: `${count(counted_qty)} counted, ${count(expected_qty)} expected. It holds when the count is posted from this page.`,
    fields: [
      { name: "decision", label: "What becomes of it", kind: "choice", value: made?.decision, options: [
        ["approve", "it is posted, whatever speaks against it"], ["reject", "it is not posted"], ["", "as the rules have it"],
      ] },
      { name: "code", label: "Reason", kind: "choice", value: made?.reason, options: [["", "that of the count"], ...REASONS.map((code) => [code, write.words(code)])] },
      { name: "words", label: "Reason in other words", hint: "Instead of the one above." },
    ],
    confirm: "Decide",
    act: async ({ decision: chosen, code, words }) => {
      if (chosen) decisions.set(item_code, { decision: chosen, reason: words || code || undefined });
      else decisions.delete(item_code);
      draw();
    },
  });
}

/** Posts the session and those that are chosen with it. */
export async function postIt(room, { path, session: { session_id }, of, together, decisions: made }, all) {
  // As they are now: what is looked at behind the question goes on.
  const [others, decisions, lines] = [[...together], new Map(made), await all()];
  const differing = lines.filter(({ variance }) => variance).length;
  const doubtful = lines.filter(({ item_code, recount_because }) => recount_because && !decisions.has(item_code));
  const sessions = others.length ? `${session_id} and ${count(others.length)} others as one count` : session_id;
  return ask({
    title: others.length ? "Post these sessions as one count" : "Post this session",
    text: `${sessions}: ${count(lines.length)} items are set to what was counted and what moved since; ${count(differing)} differ. `
      + (doubtful.length ? `${count(doubtful.length)} have something against them and are not posted unless you approve of them: ${doubtful.slice(0, 5).map(({ item_code }) => item_code).join(", ")}${doubtful.length > 5 ? ", …" : ""}. ` : "")
      + `From then on nothing enters.${of.open_conflicts ? ` ${count(of.open_conflicts)} conflicts are not resolved, and what they hold is not posted.` : ""}`,
    fields: [
      { name: "recount_over", label: "Count again what differs by more than", hint: "Left empty: how far it is off does not matter. What is to be counted again does not move." },
      { name: "reason", label: "Why", hint: "Kept on each movement whose line has no reason of its own.", required: true, value: "counted" },
    ],
    confirm: "Post it",
    act: async ({ recount_over, reason }) => {
      const posted = await post(`${path}/post`, {
        reason, recount_over: wholeNumber(recount_over, "What is counted again"), session_ids: others,
        lines: [...decisions].map(([item_code, made]) => ({ item_code, ...made })),
      });
      const outcomes = new Map();
      for (const { outcome } of posted.lines) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      const told = [...outcomes].map(([outcome, items]) => `${count(items)} ${write.words(outcome)}`).join(", ");
      room.say(`Of ${posted.next_cursor ? "the first " : ""}${count(posted.lines.length)} items: ${told}.`);
    },
  });
}
