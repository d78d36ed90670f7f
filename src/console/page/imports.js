// Racks and counts out of a file of CSV: sent part by part, so that one sees how far it is, and each row is answered. It goes
// on whatever page is looked at.

import { freshKey, session, upload } from "./api.js";
import { ACTED, ask } from "./ask.js";
import { h, s } from "./dom.js";
import { badge, button, panel, table, write } from "./parts.js";

/** Told on the document when an import came further. */
export const IMPORTED = "imported";

const { count } = write;
// How many rows are sent at once, and how many together if all or nothing is to be written.
const KINDS = {
  racks: { path: "/racks/import", part: 500, most: 10000 },
  counts: { path: "/sync/import", part: 1000, most: 1000 },
};
// The service takes 1 MiB; the header comes on top.
const PART_BYTES = 900 * 1024;
const DELIMITERS = [",", ";", "\t"];
const ROWS_SHOWN = 200;
const AGAIN_AFTER_S = 2;
const AGAIN = new Set([0, 429, 502, 503, 504]);
const OUTCOMES = { conflict: ["warn", "to be resolved"], error: ["bad", "not taken"], replaced: ["warn", "in an earlier row's place"], left_out: ["idle", "left out"] };

// All that this tab has sent, the last first.
const files = [];

addEventListener("beforeunload", (event) => {
  if (files.some(({ state }) => state === "busy")) event.preventDefault();
});

/** Asks for a file and sends it. */
export async function importFile() {
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
  files.unshift(file);
  told();
  await send(file);
  told();
  document.dispatchEvent(new Event(ACTED));
}

const told = () => document.dispatchEvent(new Event(IMPORTED));

async function read({ file, kind, session_id, counted_at, all_or_nothing }) {
  const { part, most } = KINDS[kind];
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error("The file is not UTF-8: save it as “CSV UTF-8”.");
  }
  const [header, ...rows] = split(text.replace(/\r\n?/g, "\n"));
  if (kind === "counts") number(header, rows);
  const total = rows.filter(({ isFilled }) => isFilled).length;
  if (total === 0) throw new Error("There is no row beneath the header.");
  if (all_or_nothing && total > most) throw new Error(`All or nothing holds for ${count(most)} ${kind} at most: cut the file.`);
  const parts = cut(rows, all_or_nothing ? rows.length : part);
  if (all_or_nothing && parts.length > 1) throw new Error("All or nothing holds for 900 KiB at most: cut the file.");
  const asked = { all_or_nothing, ...(kind === "counts" && session_id ? { session_id } : {}), ...(kind === "counts" && counted_at ? { counted_at } : {}) };
  return { name: file.name, key: `import-${freshKey()}`, as: session.key, kind, header: header.text, parts, total, asked, done: 0, imported: 0, wrong: [], state: "busy", note: "" };
}

/** Says of each row which of the rows of its rack and item it is in the whole file: a part alone can't tell. */
function number(header, rows) {
  const names = header.cells.map((name) => name.toLowerCase());
  if (names.includes("nth")) return;
  const place = ["session_id", "rack_id", "item_code", "serial_numbers"].map((name) => names.indexOf(name));
  const seen = new Map();
  header.text += `${header.delimiter}nth`;
  for (const row of rows) {
    if (!row.isFilled) continue;
    const key = JSON.stringify(place.map((at) => row.cells[at] ?? ""));
    seen.set(key, (seen.get(key) ?? 0) + 1);
    row.text += `${header.delimiter}${seen.get(key)}`;
  }
}

/** The rows of a file, each with its cells and the line on which it begins. A line break between quotes ends none. */
function split(text) {
  const first = text.split("\n").find((line) => line !== "") ?? "";
  const often = (sign) => first.split(sign).length;
  const [delimiter] = [...DELIMITERS].sort((one, other) => often(other) - often(one));
  const empty = new RegExp(`^[\\s"${delimiter}]*$`);
  const rows = [];
  const plain = (cell) => cell.trim().replace(/^"([^]*)"$/, (_, inner) => inner.replaceAll('""', '"')).trim();
  let [from, line, begins, quoted, cell, cells] = [0, 1, 1, false, 0, []];
  for (let at = 0; at <= text.length; at += 1) {
    const sign = text[at];
    if (sign === "\n") line += 1;
    if (quoted && sign === '"') {
      if (text[at + 1] === '"') at += 1;
      else quoted = false;
    } else if (sign === '"' && (at === from || text[at - 1] === delimiter)) {
      quoted = true;
    } else if (sign === delimiter && !quoted) {
      cells.push(plain(text.slice(cell, at)));
      cell = at + 1;
    } else if (at >= text.length || (sign === "\n" && !quoted)) {
      const row = text.slice(from, at);
      // What is before the header is nothing; what is beneath it counts as a line of its part.
      cells.push(plain(text.slice(cell, at)));
      if (rows.length || row !== "") rows.push({ line: begins, text: row, cells, delimiter, isFilled: !empty.test(row) });
      [from, begins, cell, cells] = [at + 1, line, at + 1, []];
    }
  }
  return rows;
}

/** Parts of so many rows at most, and of so many bytes. */
function cut(rows, size) {
  const parts = [];
  let bytes = Infinity;
  for (const row of rows) {
    const more = new TextEncoder().encode(row.text).length + 1;
    if (bytes + more > PART_BYTES || parts.at(-1).length >= size) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1).push(row);
    bytes += more;
  }
  return parts;
}

async function send(file) {
  for (const part of file.parts) {
    const rows = part.filter(({ isFilled }) => isFilled).length;
    if (!rows) continue;
    const answer = await sendPart(file, part);
    if (!answer) return;
    file.done += rows;
    file.imported += answer.written ? answer.imported : 0;
    file.wrong.push(...answer.rows.filter(({ outcome }) => outcome in OUTCOMES));
    file.note = answer.written ? "" : "Nothing was written: not every row is good.";
    told();
  }
  file.state = file.wrong.length ? "warn" : "ok";
}

/** Again with the same key, where it was only not its turn, or its answer was lost: nothing is taken twice. */
async function sendPart(file, part) {
  const csv = [file.header, ...part.map(({ text }) => text)].join("\n");
  const [key, params] = [freshKey(), { ...file.asked, first_line: part[0].line }];
  for (;;) {
    if (file.stopped || session.key !== file.as) {
      [file.state, file.note] = ["idle", "Stopped."];
      return null;
    }
    try {
      return await upload(KINDS[file.kind].path, csv, params, { key, as: file.as });
    } catch (error) {
      if (!AGAIN.has(error.status) && error.code !== "idempotency_in_flight") {
        [file.state, file.note] = ["bad", error.message];
        return null;
      }
      file.note = `${error.message} It goes on by itself.`;
      told();
      await new Promise((wake) => {
        file.wake = wake;
        setTimeout(wake, (error.retryAfter || AGAIN_AFTER_S) * 1000);
      });
    }
  }
}

/** How far each file is that whoever is signed in has sent, and which of its rows were not simply taken. */
export const imports = () => files.filter(({ as }) => as === session.key).map(imported);

function imported(file) {
  const { name, key, kind, done, total, wrong, state, note } = file;
  const stop = () => {
    file.stopped = true;
    file.wake?.();
    told();
  };
  const forget = () => {
    files.splice(files.indexOf(file), 1);
    told();
  };
  const label = `${count(done)} of ${count(total)} rows`;
  const words = { busy: "under way", ok: "done", warn: "done, not all was taken", bad: "broken off", idle: "stopped" };
  return panel(`Import of ${name}`, { wide: true, key, actions: state === "busy" ? button("Stop", stop) : button("Close", forget, { "aria-label": `Close the import of ${name}` }) },
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
