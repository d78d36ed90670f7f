// What pages are put together from.

import { h } from "./dom.js";
import * as write from "./format.js";

const SIGNS = { ok: "✓", warn: "▲", bad: "✕", idle: "–", busy: "●" };

/** A state by sign, word and colour, so that none of them is needed to read it. */
export const badge = (kind, text) =>
  h("span", { class: `badge ${kind}` }, h("span", { "aria-hidden": "true" }, SIGNS[kind]), " ", text);

/** The mode of locks. */
export const modeBadge = (mode) =>
  mode === "two_layer" ? badge("ok", "two-layer") : badge("warn", "database-only");

/** A part of a page under a heading of its own. */
export function panel(title, props, ...children) {
  const { note, actions, wide, key } = props ?? {};
  return h("section", { class: wide ? "panel wide" : "panel", "data-key": key ?? title },
    h("header", {}, h("h2", {}, title), note && h("small", {}, note), actions && h("div", { class: "buttons" }, actions)),
    children);
}

/** One figure under its name. */
export const figure = (name, value, note) =>
  h("div", { class: "figure", "data-key": name }, h("dt", {}, name), h("dd", {}, value),
    h("dd", { class: "note" }, note ?? ""));

export const figures = (...all) => h("dl", { class: "figures" }, all);

/** Names and values, one beside the other. */
export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value ?? "–")]));

/**
 * A table that scrolls sideways where it must. `columns`: `[title, cell of a row, kind]` with kind `number` or `action`.
 */
export function table(caption, columns, rows, { key, empty = "There is nothing.", selected } = {}) {
  if (!rows) return h("p", { class: "empty" }, "Looking …");
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const classOf = (kind) => kind && (kind === "number" ? "number" : kind);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map(([title, , kind]) =>
        h("th", { scope: "col", class: classOf(kind) }, title || h("span", { class: "unseen" }, "Actions"))))),
      h("tbody", {}, rows.map((row) =>
        h("tr", { "data-key": key?.(row), class: selected?.(row) && "selected" },
          columns.map(([, cell, kind]) => h("td", { class: classOf(kind) }, cell(row))))))));
}

/** A button of a row or a panel. */
export const button = (text, onclick, props) => h("button", { type: "button", onclick, ...props }, text);

export const link = (to, ...children) => h("a", { href: `#${to}` }, children);

/** Fields above a list. `onsubmit` gets what they say. */
export function filters(fields, onsubmit, submit = "Show") {
  return h("form", { class: "filters", role: "search", onsubmit: (event) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    onsubmit(Object.fromEntries([...given].map(([name, value]) => [name, value.trim()])));
  } }, fields.map(({ name, label, value = "", options, wide }) => h("label", { class: wide && "wide" }, label,
    options
      ? h("select", { name }, options.map(([option, text]) => h("option", { value: option, selected: option === value }, text)))
      : h("input", { name, value, maxlength: 255, autocomplete: "off", spellcheck: "false" }))),
  h("button", { type: "submit" }, submit));
}

/** "Older" at the foot of a list, if there are more. */
export const more = (cursor, onclick) => cursor && h("p", { class: "more" }, button("Show more", onclick));

/** Any JSON, laid out. */
export const raw = (value) => h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));

/** Something that can be unfolded. */
export const folded = (title, key, ...children) =>
  h("details", { "data-key": key }, h("summary", {}, title), children);

export { write };
