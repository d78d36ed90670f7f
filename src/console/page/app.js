// The console: who is signed in, which page is shown, and what every page may do.

import { get, Problem, session } from "./api.js";
import { ACTED } from "./ask.js";
import { h, morph } from "./dom.js";
import { badge, button, modeBadge } from "./parts.js";
import overview from "./overview.js";
import locks from "./locks.js";
import stock from "./stock.js";
import orders from "./orders.js";
import counts from "./counts.js";
import invoices from "./invoices.js";
import events from "./events.js";
import webhooks from "./webhooks.js";
import audit from "./audit.js";

const PAGES = [overview, locks, stock, orders, counts, invoices, events, webhooks, audit];
const MODE_EVERY_MS = 2000;

const place = (name) => document.getElementById(name);
const put = (name, ...children) => morph(place(name), h("div", {}, children));

let holder = null;
let open = null;

/** Said once, to eyes and ears: the outcome of what a person did, and changes of mode. */
export function say(text) {
  place("said").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (place("said").textContent = ""), 8000);
}

const may = (scopes) => holder.scopes.includes("operator") || holder.scopes.some((scope) => scopes.includes(scope));

// ---- Signing in

function signIn(why) {
  leave();
  holder = null;
  ["mode", "link", "who", "nav"].forEach((name) => put(name));
  document.body.className = "out";
  document.title = "Sign in · Holdfast";
  const failed = h("p", { class: "failed", role: "alert" }, why ?? "");
  const key = h("input", { id: "key", type: "password", autocomplete: "off", required: true, spellcheck: "false" });
  const onsubmit = async (event) => {
    event.preventDefault();
    failed.textContent = "";
    try {
      holder = await get("/whoami", {}, { as: key.value.trim() });
      session.key = key.value.trim();
      signedIn();
    } catch (error) {
      failed.textContent = error.status === 401 ? "This is not a live key." : error.message;
      key.select();
    }
  };
  put("main", h("form", { class: "sign-in", onsubmit },
    h("h1", {}, "Operator console"),
    h("label", { for: "key" }, "API key", key,
      h("small", {}, "Kept in this tab until it is closed, and sent to this host alone.")),
    failed,
    h("button", { type: "submit", class: "primary" }, "Sign in")));
  key.focus();
}

function signedIn() {
  document.body.className = "";
  put("who", h("span", { class: "dim" }, holder.subject), " ", button("Sign out", () => {
    session.key = null;
    signIn();
  }));
  if (may([])) watchMode();
  route();
}

async function begin() {
  if (!session.key) return signIn();
  try {
    holder = await get("/whoami");
    signedIn();
  } catch (error) {
    if (error.status === 401) session.key = null;
    signIn(error.status === 401 ? "The key is no longer live." : error.message);
  }
}

// ---- Which page

// A part of an address as it was meant, or as it stands if somebody wrote it by hand.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function route() {
  if (!holder) return;
  const [, name = "", ...args] = location.hash.replace(/^#/, "").split("/").map(decoded);
  if (location.hash && !location.hash.startsWith("#/")) return;
  const allowed = PAGES.filter((page) => may(page.scopes));
  const page = allowed.find((candidate) => candidate.name === name) ?? (name === "" && allowed[0]);
  leave();
  put("nav", h("ul", {}, allowed.map((one) => h("li", {},
    h("a", { href: `#/${one.name}`, "aria-current": one === page && "page" }, one.title)))));
  if (!page) {
    document.title = "Holdfast";
    put("main", h("h1", {}, "Not here"), h("p", {}, allowed.length
      ? "There is no such page, or your key does not open it."
      : "Your key opens none of these pages: they are for operators, warehouse leads and finance."));
    return;
  }
  document.title = `${page.title} · Holdfast`;
  place("main").replaceChildren();
  open = room(page, args);
  page.open(open);
  place("nav").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (route.again) place("main").focus({ preventScroll: true });
  route.again = true;
  scrollTo(0, 0);
}

function leave() {
  open?.leave();
  open = null;
}

/** What a page may do while it is open; nothing of it outlives that. */
function room(page, args) {
  const left = new AbortController();
  const timers = new Set();
  const here = {
    args,
    signal: left.signal,
    say,
    isOperator: may([]),
    get: (path, params) => get(path, params, { signal: left.signal }),
    /** Draws the page under its heading. */
    show(...children) {
      if (!left.signal.aborted) put("main", h("h1", {}, page.title), stale(), children);
    },
    /** Does it now, after whatever is done from the page, and again and again, except while nobody looks. What fails is said and tried again. */
    every(ms, look) {
      let running = false;
      const again = async () => {
        if (running || document.hidden) return;
        running = true;
        await here.attempt(look);
        running = false;
      };
      timers.add(setInterval(again, ms));
      for (const cause of ["visibilitychange", ACTED]) document.addEventListener(cause, again, { signal: left.signal });
      return again();
    },
    /** Does it; a failure is said above the page, and the last that was seen stays. */
    async attempt(look) {
      try {
        await look();
        failing(here, null);
      } catch (error) {
        if (error.name !== "AbortError" && !left.signal.aborted) failing(here, error);
      }
    },
    failed: null,
    leave() {
      left.abort();
      timers.forEach(clearInterval);
    },
  };
  const stale = () => here.failed && h("p", { class: "stale", role: "alert", "data-key": "stale" },
    badge("bad", "not up to date"), ` ${here.failed.message} What is shown is from before.`);
  return here;
}

function failing(here, error) {
  if (error instanceof Problem && error.status === 401) {
    session.key = null;
    signIn("The key is no longer live.");
    return;
  }
  if (error && !(error instanceof Problem)) console.error(error);
  const before = here.failed;
  here.failed = error;
  if (String(before?.message) === String(error?.message)) return;
  const main = place("main");
  main.querySelector(".stale")?.remove();
  if (error) {
    const told = h("p", { class: "stale", role: "alert", "data-key": "stale" },
      badge("bad", "not up to date"), ` ${error.message} What is shown is from before.`);
    const heading = main.querySelector("h1");
    if (heading) heading.after(told);
    else main.prepend(told);
  }
}

// ---- The mode, on every page

function watchMode() {
  clearInterval(watchMode.timer);
  let last = null;
  const look = async () => {
    if (!holder) return clearInterval(watchMode.timer);
    if (document.hidden) return;
    try {
      const { mode } = await get("/status");
      if (!holder) return;
      put("mode", modeBadge(mode.lock_mode));
      put("link");
      if (last && last !== mode.lock_mode) {
        say(mode.lock_mode === "two_layer" ? "Locks are two-layer again." : `Locks are database-only now: ${mode.why}.`);
      }
      last = mode.lock_mode;
    } catch (error) {
      if (holder) put("link", badge("bad", error.status === 0 ? "unreachable" : `status ${error.status}`));
    }
  };
  watchMode.timer = setInterval(look, MODE_EVERY_MS);
  look();
}

addEventListener("hashchange", route);
begin();
