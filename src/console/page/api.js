// Calls to the API, as whoever signed in. The key is kept for this tab alone.

const KEY = "holdfast.key";
const ROOT = "/api/v1";

export const session = {
  get key() {
    return sessionStorage.getItem(KEY);
  },
  set key(key) {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  },
};

/**
 * How long something may take, in milliseconds: to be read, to be done, and between two signs of life of the stream, which
 * come every 15 s. A network that has fallen silent breaks nothing off.
 */
export const limits = { read: 20_000, done: 60_000, silence: 40_000 };

/** What the service says when it does not do something, or why it could not be asked. */
export class Problem extends Error {
  constructor(status, document, retryAfter = null) {
    super(document.detail || document.title || "The service did not say why.");
    this.status = status;
    this.code = document.code ?? "";
    this.errors = document.errors ?? [];
    this.requestId = document.request_id ?? "";
    this.document = document;
    this.retryAfter = Number(retryAfter);
  }
}

const silent = (ms) => new Problem(0, { detail: `The service has said nothing for ${ms / 1000} s.`, code: "silent" });

async function call(method, path, { body, csv, key, signal, limit = method === "GET" ? limits.read : limits.done, as = session.key } = {}) {
  const headers = { authorization: `Bearer ${as}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (csv !== undefined) headers["content-type"] = "text/csv";
  if (key) headers["idempotency-key"] = key;
  const late = AbortSignal.timeout(limit);
  let response, text;
  try {
    response = await fetch(ROOT + path, {
      method, headers, signal: signal ? AbortSignal.any([signal, late]) : late, cache: "no-store", credentials: "omit",
      body: body === undefined ? csv : JSON.stringify(body),
    });
    text = await response.text();
  } catch (error) {
    if (late.aborted && !signal?.aborted) throw silent(limit);
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service can't be reached.", code: "unreachable" });
  }
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = { detail: `Not an answer of Holdfast (status ${response.status}).` };
  }
  if (!response.ok) throw new Problem(response.status, answer, response.headers.get("retry-after"));
  return answer;
}

/** Reads. `params` that are empty are left out. */
export function get(path, params = {}, options = {}) {
  return call("GET", asking(path, params), options);
}

function asking(path, params) {
  const given = Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  return path + (query ? `?${query}` : "");
}

/** Sends a file of CSV. */
export const upload = (path, csv, params, options) => call("POST", asking(path, params), { ...options, csv });

/** Gives a file to whoever sits here. */
export async function download(path, name) {
  const headers = { authorization: `Bearer ${session.key}` };
  const response = await fetch(ROOT + path, { headers, cache: "no-store", credentials: "omit" });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Does something, once: a lost answer may be asked for again with the same key. */
export const post = (path, body, options = {}) => call("POST", path, { key: freshKey(), ...options, body });

/** Unlike `randomUUID` this is there without TLS too. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `console-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * What the stream tells from `lastId` on, until it ends or breaks: `{id, event, data}`. `data` is null for a mere id, and
 * there is no id where it only says that it is there.
 */
export async function* events({ lastId, types, signal }) {
  const headers = { authorization: `Bearer ${session.key}`, accept: "text/event-stream" };
  if (lastId) headers["last-event-id"] = lastId;
  const query = types ? `?types=${encodeURIComponent(types)}` : "";
  const ours = new AbortController();
  const options = { headers, signal: AbortSignal.any([signal, ours.signal]), cache: "no-store", credentials: "omit" };
  try {
    const response = await unlessSilent(fetch(`${ROOT}/events${query}`, options));
    if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await unlessSilent(reader.read());
      if (done) return;
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        yield read(block);
      }
    }
  } finally {
    ours.abort();
  }
}

/** What comes, unless nothing does for too long. */
function unlessSilent(coming) {
  const limit = limits.silence;
  let timer;
  const late = new Promise((_, failed) => (timer = setTimeout(() => failed(silent(limit)), limit)));
  return Promise.race([coming, late]).finally(() => clearTimeout(timer));
}

function read(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (name) fields[name] = value;
  }
  return { id: fields.id, event: fields.event, data: fields.data ? JSON.parse(fields.data) : null };
}
