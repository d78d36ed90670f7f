// How numbers, times and names are written. Times are the reader's own; the title of each says it in UTC.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const count = (number) => (number === null || number === undefined ? "–" : whole.format(number));

/** A change, with its sign. */
export const signed = (number) =>
  number === null || number === undefined ? "–" : number > 0 ? `+${whole.format(number)}` : whole.format(number);

/** So many a second. */
export const rate = (number) => (number < 10 ? tenths : whole).format(number);

export function ms(number) {
  if (number === null || number === undefined) return "–";
  if (number >= 1000) return `${tenths.format(number / 1000)} s`;
  return `${(number < 10 ? tenths : whole).format(number)} ms`;
}

/** A span in the two units that matter. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const left = Math.max(0, Math.round(seconds));
  if (left < 60) return `${left} s`;
  if (left < 3600) return `${Math.floor(left / 60)} min ${left % 60} s`;
  if (left < 86400) return `${Math.floor(left / 3600)} h ${Math.floor((left % 3600) / 60)} min`;
  return `${Math.floor(left / 86400)} d ${Math.floor((left % 86400) / 3600)} h`;
}

/** How long ago, by the difference to `now`, which is the server's where it is known. */
export const ago = (text, now = Date.now()) => `${span((now - Date.parse(text)) / 1000)} ago`;

function shown(date) {
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

/** A moment. */
export function time(text) {
  if (!text) return "–";
  const date = new Date(text);
  return h("time", { datetime: text, title: `${date.toISOString().replace("T", " ").slice(0, 19)} UTC` }, shown(date));
}

/** A long id by its end, which tells ids of one time apart; whole when pointed at. */
export function id(text) {
  if (!text) return "–";
  if (text.length <= 16) return h("code", {}, text);
  return h("code", { class: "nowrap", title: text }, `…${text.slice(-12)}`);
}

/** An amount with its currency. */
export const money = (amount, currency) => h("span", { class: "nowrap" }, `${amount} ${currency}`);

/** `rack.claimed`, `already_cancelled` as words. */
export const words = (name) => String(name ?? "–").replaceAll("_", " ");

/** So many of them, in words that agree. */
export const many = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
