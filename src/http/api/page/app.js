// Shows the description of the API: /openapi.json, as it is served. Text from it is only ever set as text.

const found = (id) => document.getElementById(id);

/** An element: its name, its attributes, and what stands in it. */
function el(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inside.flat(Infinity).filter((one) => one !== undefined && one !== null && one !== ""));
  return made;
}

let api;
const calls = [];

const follow = (given) => {
  if (!given || !given.$ref) return given ?? {};
  const target = given.$ref.slice(2).split("/").reduce((at, part) => at[part], api);
  const name = given.$ref.split("/").pop();
  return { ...target, title: target.title ?? name, ...without(given, "$ref") };
};
const without = (given, key) => Object.fromEntries(Object.entries(given).filter(([name]) => name !== key));

/** `code` between backticks, as descriptions have it. */
function prose(text = "") {
  const parts = text.split(/`([^`]+)`/);
  return parts.map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

/** What a value may be, in a few words. */
function words(given) {
  const schema = follow(given);
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives?.every((one) => one.const !== undefined)) return alternatives.map((one) => JSON.stringify(one.const)).join(" | ");
  if (alternatives) return alternatives.map(words).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const type = [schema.type ?? "anything"].flat().join(" | ");
  const of = schema.items ? ` of ${words(schema.items)}` : "";
  const name = schema.properties ? (schema.title ?? "object") : type + of;
  const bound = (low, high, unit) =>
    low !== undefined && high !== undefined ? `${low} to ${high}${unit}` : low !== undefined ? `${low} or more${unit}` : high !== undefined ? `up to ${high}${unit}` : "";
  const rules = [
    schema.format && !/^u?int/.test(schema.format) ? schema.format : "",
    bound(schema.minimum, schema.maximum, ""),
    bound(schema.minLength, schema.maxLength, " characters"),
    bound(schema.minItems, schema.maxItems, " items"),
    schema.default !== undefined && schema.default !== null ? `default ${JSON.stringify(schema.default)}` : "",
  ];
  return [name, ...rules.filter(Boolean)].join(", ");
}

/** The object that is described, if any is, however it is wrapped. */
function objectOf(given) {
  const schema = follow(given);
  if (schema.properties) return schema;
  if (schema.items) return objectOf(schema.items);
  return (schema.anyOf ?? schema.oneOf ?? schema.allOf ?? []).map(objectOf).find(Boolean);
}

/** The fields of a schema, those of fields folded. */
function fields(given, depth = 0) {
  const schema = objectOf(given);
  if (!schema || depth > 6) return [];
  const required = schema.required ?? [];
  const names = Object.keys(schema.properties).sort((one, other) => required.includes(other) - required.includes(one));
  return names.map((name) => {
    const field = schema.properties[name];
    const label = [
      el("code", {}, name), " ", el("small", {}, words(field), required.includes(name) ? "" : ", optional"), " ",
      prose(follow(field).description ?? variants(field)),
    ];
    const inner = fields(field, depth + 1);
    return inner.length ? el("details", {}, el("summary", {}, label), inner) : el("div", { class: "field" }, label);
  });
}

const variants = (given) => (follow(given).oneOf ?? []).filter((one) => one.description).map((one) => `\`${one.const}\`: ${one.description}`).join(" ");

function shape(schema) {
  return [el("div", {}, el("small", {}, words(schema))), fields(schema)];
}

function parameters(call) {
  const rows = call.told.parameters.map((one) =>
    el("tr", {},
      el("td", {}, el("code", {}, one.name), one.required ? "" : el("small", {}, " optional")),
      el("td", {}, one.in),
      el("td", {}, words(one.schema)),
      el("td", {}, prose(one.description ?? follow(one.schema).description ?? variants(one.schema)))));
  return rows.length ? [el("h3", {}, "Parameters"), el("table", {}, el("tr", {}, ["Name", "In", "What", ""].map((title) => el("th", {}, title))), rows)] : [];
}

function answers(call) {
  const rows = Object.entries(call.told.responses).map(([status, response]) => {
    const [[media, content] = []] = Object.entries(response.content ?? {});
    const isProblem = media === "application/problem+json";
    const about = response.description.split("\n").map((line) => el("div", {}, prose(line.replace(/^- /, ""))));
    const headers = Object.keys(response.headers ?? {}).join(", ");
    return el("tr", {},
      el("td", {}, el("b", { class: isProblem ? "bad" : "" }, status)),
      el("td", {}, about, headers && el("small", {}, `Headers: ${headers}`),
        content && !isProblem ? [el("div", {}, el("small", {}, media)), shape(content.schema)] : ""));
  });
  const problem = { $ref: "#/components/schemas/Problem" };
  return [
    el("h3", {}, "Answers"), el("table", {}, rows),
    el("details", {}, el("summary", {}, "The shape of errors"), fields(problem)),
  ];
}

/** A form that makes the call, with the key of this session. */
function tryIt(call) {
  const inputs = call.told.parameters.map((one) => [one, el("input", { "aria-label": one.name, value: one.in === "path" ? (one.example ?? "") : "", placeholder: one.example ?? "" })]);
  const [mediaType, body] = Object.entries(call.told.requestBody?.content ?? {})[0] ?? [];
  const text = body && el("textarea", { "aria-label": "Body", spellcheck: "false" });
  if (text) text.value = typeof body.example === "string" ? body.example : JSON.stringify(body.example ?? {}, null, 2);
  const answer = el("div", { "aria-live": "polite" });
  const send = async (event) => {
    event.preventDefault();
    let path = call.path;
    const query = new URLSearchParams();
    const headers = {};
    for (const [one, input] of inputs) {
      if (one.in === "path") path = path.replace(`{${one.name}}`, encodeURIComponent(input.value));
      else if (input.value && one.in === "query") query.set(one.name, input.value);
      else if (input.value) headers[one.name] = input.value;
    }
    if (found("key").value) headers.Authorization = `Bearer ${found("key").value}`;
    if (text) headers["Content-Type"] = mediaType;
    const address = path + (query.size ? `?${query}` : "");
    answer.replaceChildren(el("p", { class: "dim" }, "Asking…"));
    try {
      const given = await fetch(address, { method: call.method.toUpperCase(), headers, body: text?.value });
      const isStream = given.headers.get("content-type")?.startsWith("text/event-stream");
      let told = isStream ? "A stream, which has no end: follow it with another program." : await given.text();
      if (isStream) given.body.cancel();
      else try { told = JSON.stringify(JSON.parse(told), null, 2); } catch { /* Not JSON: as it is. */ }
      const seen = [...given.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      answer.replaceChildren(el("p", {}, el("b", { class: given.ok ? "" : "bad" }, `${given.status} ${given.statusText}`)), el("pre", {}, told), el("pre", {}, seen));
    } catch (error) {
      answer.replaceChildren(el("p", { class: "bad" }, `No answer: ${error.message}`));
    }
  };
  return [
    el("h3", {}, "Try it"),
    el("form", { onsubmit: send }, el("div", { class: "form" }, inputs.flatMap(([one, input]) => [el("span", {}, one.name), input]), text), el("button", {}, "Send")),
    answer,
  ];
}

const scopes = (call) => {
  const names = call.told.security.map((one) => (one.key ? one.key[0] : "a signature"));
  return names.length ? `Open to ${names.join(", ")}.` : "Open to anybody.";
};

function show() {
  const call = calls.find((one) => one.told.operationId === decodeURIComponent(location.hash.slice(1)));
  for (const link of found("list").querySelectorAll("a")) link.toggleAttribute("aria-current", link.hash === location.hash);
  if (!call) {
    const groups = api.tags.map((tag) => el("p", {}, el("b", {}, tag.name), el("br"), prose(tag.description)));
    found("main").replaceChildren(el("h2", {}, api.info.title), ...api.info.description.split("\n\n").map((text) => el("p", {}, prose(text))), ...groups);
    return;
  }
  const body = call.told.requestBody;
  found("main").replaceChildren(...[
    el("h2", {}, call.told.summary),
    el("p", {}, el("span", { class: "method" }, call.method.toUpperCase()), el("code", { class: "path" }, call.path)),
    el("p", {}, prose(call.told.description ?? "")),
    el("p", { class: "dim" }, scopes(call)),
    parameters(call),
    body ? [el("h3", {}, "Body", body.required ? "" : " (optional)"), shape(Object.values(body.content)[0].schema)] : [],
    answers(call),
    tryIt(call),
  ].flat(Infinity));
  found("main").focus();
}

function list() {
  const wanted = found("find").value.toLowerCase();
  const links = api.tags.map((tag) => {
    const of = calls.filter((call) => call.told.tags[0] === tag.name && `${call.method} ${call.path} ${call.told.summary}`.toLowerCase().includes(wanted));
    const links = of.map((call) => el("a", { href: `#${call.told.operationId}`, title: call.path }, el("span", { class: "method dim" }, call.method.toUpperCase()), call.told.summary));
    return links.length ? [el("h2", {}, tag.name), ...links] : [];
  });
  found("list").replaceChildren(...links.flat());
}

async function begin() {
  const given = await fetch("/openapi.json");
  if (!given.ok) throw new Error(`openapi.json: ${given.status}`);
  api = await given.json();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, told] of Object.entries(methods)) calls.push({ path, method, told });
  }
  found("version").textContent = api.info.version;
  // Kept as long as this tab, and nowhere else.
  found("key").value = sessionStorage.getItem("docs-key") ?? "";
  found("key").addEventListener("input", () => sessionStorage.setItem("docs-key", found("key").value));
  found("find").addEventListener("input", list);
  addEventListener("hashchange", show);
  list();
  show();
}

begin().catch((error) => found("main").replaceChildren(el("p", { class: "bad" }, error.message)));
