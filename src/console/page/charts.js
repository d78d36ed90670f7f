// Drawings: lines over a minute, the strip of modes, a balance over time.

import { h, s } from "./dom.js";
import { count, span } from "./format.js";

const WIDE = 600;
const HIGH = 120;

/** Up to the next 1, 2 or 5 of its size, so that the scale does not jump about. */
function ceiling(most) {
  if (most <= 0) return 1;
  const size = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * size).find((limit) => limit >= most);
}

/**
 * Lines over the last minute, the present at the right. `lines`: `{name, kind, values}`; null is no value. The drawing is
 * told in words beside it, so it is one image to those who hear it.
 */
export function lines(label, series, unit) {
  const top = ceiling(Math.max(...series.flatMap(({ values }) => values.map((value) => value ?? 0)), 0));
  const last = Math.max(...series.map(({ values }) => values.length), 1);
  const x = (place, length) => WIDE - ((length - 1 - place) * WIDE) / 59;
  const y = (value) => HIGH - (value / top) * (HIGH - 4) - 2;
  const drawn = series.map(({ kind, values }) => {
    let path = "";
    let pen = "M";
    values.forEach((value, place) => {
      if (value === null) {
        pen = "M";
        return;
      }
      // A value alone is a dot.
      path += `${pen}${x(place, values.length).toFixed(1)} ${y(value).toFixed(1)}${pen === "M" ? "h0" : ""}`;
      pen = "L";
    });
    return s("path", { d: path || "M0 0", class: `line ${kind}`, "vector-effect": "non-scaling-stroke" });
  });
  return h("figure", { class: "chart" },
    h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, unit(top)), h("span", {}, unit(0))),
    s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      s("path", { class: "grid", d: `M0 ${HIGH / 2}H${WIDE}M0 1H${WIDE}M0 ${HIGH - 1}H${WIDE}`, "vector-effect": "non-scaling-stroke" }),
      drawn),
    h("figcaption", {}, series.map(({ name, kind }) =>
      h("span", { class: "legend" }, h("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), name)),
    h("span", { class: "span" }, last < 60 ? `the last ${last} s` : "the last minute")));
}

/** The modes over time: what was when, hatched where locks were database-only. `changes` are oldest first. */
export function strip(changes, startedAt, now, first) {
  const begun = Date.parse(startedAt);
  const from = Math.max(begun, now - windowOf(now, begun, changes));
  const spans = [];
  let mode = first;
  let since = begun;
  for (const change of changes) {
    const at = Date.parse(change.at);
    if (at > since) spans.push([since, at, mode]);
    [since, mode] = [Math.max(at, begun), change.mode];
  }
  spans.push([since, now, mode]);
  const x = (at) => ((Math.max(at, from) - from) / Math.max(now - from, 1)) * WIDE;
  const shown = spans.filter(([, end]) => end > from);
  const away = shown.filter(([, , kind]) => kind !== "two_layer").reduce((sum, [a, b]) => sum + b - Math.max(a, from), 0);
  const label = away > 0
    ? `Of the last ${span((now - from) / 1000)}, ${span(away / 1000)} were database-only.`
    : `Two-layer for all of the last ${span((now - from) / 1000)}.`;
  return h("figure", { class: "strip" },
    s("svg", { viewBox: `0 0 ${WIDE} 24`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      s("defs", {}, s("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        s("rect", { width: 6, height: 6, class: "away" }), s("path", { d: "M0 0V6", class: "hatching" }))),
      shown.map(([start, end, kind]) => s("rect", {
        x: x(start).toFixed(2), width: Math.max(x(end) - x(start), 1.5).toFixed(2), height: 24,
        class: kind === "two_layer" ? "two-layer" : "database-only",
      }))),
    h("figcaption", {}, h("span", {}, `${span((now - from) / 1000)} ago`), h("span", { class: "told" }, label), h("span", {}, "now")));
}

/** Five minutes, an hour or a day: the shortest that shows all changes, as far back as a day. */
function windowOf(now, begun, changes) {
  const oldest = changes.length ? Date.parse(changes[0].at) : begun;
  const sizes = [300e3, 3600e3, 86400e3];
  return sizes.find((size) => now - size <= oldest) ?? 86400e3;
}

/** A variant's balance as its movements left it: steps, newest first in `movements`. */
export function balance(movements, now = Date.now()) {
  const steps = [...movements].reverse();
  if (steps.length === 0) return null;
  const from = Date.parse(steps[0].created_at);
  const width = Math.max(now - from, 1);
  const levels = [steps[0].previous_quantity, ...steps.map((step) => step.new_quantity)];
  const [low, high] = [Math.min(...levels, 0), ceiling(Math.max(...levels, 1))];
  const x = (at) => (((Date.parse(at) - from) / width) * WIDE).toFixed(1);
  const y = (level) => (HIGH - ((level - low) / (high - low)) * (HIGH - 6) - 3).toFixed(1);
  let path = `M0 ${y(levels[0])}`;
  for (const step of steps) path += `H${x(step.created_at)}V${y(step.new_quantity)}`;
  path += `H${WIDE}`;
  const label = `${count(steps.length)} movements in ${span(width / 1000)}: from ${count(levels[0])} to ${count(levels.at(-1))}, `
    + `at the lowest ${count(Math.min(...levels))}, at the highest ${count(Math.max(...levels))}.`;
  return h("figure", { class: "chart" },
    h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, count(high)), h("span", {}, count(low))),
    s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      s("path", { class: "grid", d: `M0 ${HIGH / 2}H${WIDE}M0 1H${WIDE}M0 ${HIGH - 1}H${WIDE}`, "vector-effect": "non-scaling-stroke" }),
      s("path", { class: "area", d: `${path}V${HIGH}H0Z` }),
      s("path", { class: "line main", d: path, "vector-effect": "non-scaling-stroke" })),
    h("figcaption", {}, h("span", {}, `${span(width / 1000)} ago`), h("span", { class: "told" }, label), h("span", {}, "now")));
}
