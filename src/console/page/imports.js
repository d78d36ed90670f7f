// Racks and counts out of a file of CSV: sent part by part, so that one sees how far it is, and each row is answered.

import { freshKey, upload } from "./api.js";
import { ACTED, ask } from "./ask.js";
import { h, s } from "./dom.js";
import { badge, button, panel, table, write } from "./parts.js";

const { count } = write;
// How many rows are sent at once, and how many together if all or nothing is to be written.
const KINDS = {
  racks: { path: "/racks/import", part: 500, most: 10000 },
  counts: { path: "/sync/import", part: 1000, most: 1000 },
};
const ROWS_SHOWN = 200;
const AGAIN_AFTER_S = 2;
const OUTCOMES = { conflict: ["warn", "to be resolved"], error: ["bad", "not taken"], replaced: ["warn", "in an earlier row's place"], left_out: ["idle", "left out"] };

/** Asks for a file and sends it. `draw` is called whenever there is something new in what `keep` was given. */
export async function importFile(room, keep, draw) {
  const file = await ask({
    title: "Import a file",
    text: "CSV in UTF-8 with a header. Racks: rack_id, floor and perhaps name. Counts: item_code, verified_qty and perhaps "
      + "damage_qty, serial_numbers (with ; between them), rack_id, floor, counted_at and the other fields of a record.",
    fields: [
      { name: "file", label: "File", kind: "file", required: true },
      { name: "kind", label: "Of what", kind: "choice", options: [["racks", "racks"], ["counts", "counts"]] },
      { name: "session_id", label: "Session of the counts", hint: "Where the file has no column session_id." },
      { name: "counted_at", label: "Counted at", kind: "time", hint: "Where the file has no column counted_at: when the shelves were looked at. What is sold since is taken off." },
      { name: "all_or_nothing", label: "Write nothing unless every row is good", kind: "check" },
    ],
    confirm: "Import it",
    act: read,
  });
  if (!file) return;
  keep(file);
  draw();
  await send(room, file, draw);
  draw();
  document.dispatchEvent(new Event(ACTED));
}

async function read({ file, kind, session_id, counted_at, all_or_nothing }) {
  const { part, most } = KINDS[kind];
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error("The file is not UTF-8: save it as “CSV UTF-8”.");
  }
  const [header, ...rows] = split(text);
  const total = rows.filter(filled).length;
  if (total === 0) throw new Error("There is no row beneath the header.");
  if (all_or_nothing && total > most) throw new Error(`All or nothing holds for ${count(most)} ${kind} at most: cut the file.`);
  const size = all_or_nothing ? rows.length : part;
  const parts = [];
  for (let at = 0; at < rows.length; at += size) parts.push(rows.slice(at, at + size));
  const asked = { all_or_nothing, ...(kind === "counts" && session_id ? { session_id } : {}), ...(kind === "counts" && counted_at ? { counted_at } : {}) };
  return { name: file.name, kind, header: header.text, parts, total, asked, done: 0, imported: 0, wrong: [], state: "busy", note: "" };
}

const filled = ({ text }) => text.trim() !== "";

/** The rows of a file, each with the line on which it begins. A line break between quotes ends none. */
function split(text) {
  const rows = [];
  let [from, line, begins, quoted] = [0, 1, 1, false];
  for (let at = 0; at <= text.length; at += 1) {
    const sign = text[at];
    if (sign === "\n") line += 1;
    if (quoted && sign === '"') {
      if (text[at + 1] === '"') at += 1;
      else quoted = false;
    } else if (sign === '"' && (at === from || ",;\t".includes(text[at - 1]))) {
      quoted = true;
    } else if (at >= text.length || (sign === "\n" && !quoted)) {
      rows.push({ line: begins, text: text.slice(from, at).replace(/\r$/, "") });
      [from, begins] = [at + 1, line];
    }
  }
  return rows;
}

async function send(room, file, draw) {
  for (const part of file.parts) {
    if (!part.some(filled)) continue;
    const told = await sendPart(room, file, part, draw);
    if (!told) return;
    file.done += part.filter(filled).length;
    file.imported += told.written ? told.imported : 0;
    file.wrong.push(...told.rows.filter(({ outcome }) => outcome in OUTCOMES));
    file.note = told.written ? "" : "Nothing was written: not every row is good.";
    draw();
  }
  file.state = file.wrong.length ? "warn" : "ok";
}

/** Again with the same key, where it was only not its turn: nothing is taken twice. */
async function sendPart(room, file, part, draw) {
  const csv = [file.header, ...part.map(({ text }) => text)].join("\n");
  const [key, params] = [freshKey(), { ...file.asked, first_line: part[0].line }];
  for (;;) {
    if (file.stopped || room.signal.aborted) {
      [file.state, file.note] = ["idle", "Stopped."];
      return null;
    }
    try {
      return await upload(KINDS[file.kind].path, csv, params, { key, signal: room.signal });
    } catch (error) {
      if (![0, 429, 503].includes(error.status)) {
        [file.state, file.note] = ["bad", error.message];
        return null;
      }
      file.note = `${error.message} It goes on by itself.`;
      draw();
      await new Promise((wake) => setTimeout(wake, (error.retryAfter || AGAIN_AFTER_S) * 1000));
    }
  }
}

/** How far a file is, and which of its rows were not simply taken. */
export function imported(file, draw) {
  const { name, kind, done, total, wrong, state, note } = file;
  const stop = () => {
    file.stopped = true;
    draw();
  };
  const label = `${count(done)} of ${count(total)} rows`;
  const words = { busy: "under way", ok: "done", warn: "done, not all was taken", bad: "broken off", idle: "stopped" };
  return panel(`Import of ${name}`, { wide: true, key: "import", actions: state === "busy" ? button("Stop", stop) : null },
    h("p", { role: "status" }, badge(state, words[state]), ` ${label}; ${count(file.imported)} ${kind} are in, ${count(wrong.length)} rows are not. ${note}`),
    h("p", {}, h("span", { class: "meter", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": total, "aria-valuenow": done },
      s("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": label },
        s("rect", { class: "done", width: (done / total) * 100, height: 1 })))),
    wrong.length ? table("Rows that were not simply taken", [
      ["Line", ({ line }) => line, "number"],
      ["Of", ({ id }) => id ?? "–"],
      ["Became", ({ outcome }) => badge(...OUTCOMES[outcome])],
      ["Why", ({ error_type, message }) => (message ? `${write.words(error_type)}: ${message}` : "others were not good")],
    ], wrong.slice(0, ROWS_SHOWN), { key: ({ line }) => `row-${line}` }) : null,
    wrong.length > ROWS_SHOWN && h("p", { class: "dim" }, `and ${count(wrong.length - ROWS_SHOWN)} more`));
}
