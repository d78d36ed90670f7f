// Elements, made from data as text only, and brought up to date without losing what a person does with them.

const SVG = "http://www.w3.org/2000/svg";
// What a person types or opens is theirs: a redraw does not touch it.
const KEPT = new Set(["value", "open", "checked"]);

/** An element. `props`: attributes, and handlers as `onclick`. Children: elements, text, arrays; null is left out. */
export function h(tag, props, ...children) {
  return made(document.createElement(tag), props, children);
}

/** The same, of SVG. */
export function s(tag, props, ...children) {
  return made(document.createElementNS(SVG, tag), props, children);
}

function made(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Makes the children of `live` what those of `wanted` are, keeping the nodes that can stay, and so focus and scroll. */
export function morph(live, wanted) {
  const next = [...wanted.childNodes];
  const keyed = new Map();
  for (const child of live.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  next.forEach((node, place) => {
    const key = node.dataset?.key;
    const known = key && keyed.get(key);
    const there = live.childNodes[place];
    if (known && known !== there && known.nodeName === node.nodeName) live.insertBefore(known, there ?? null);
    const old = live.childNodes[place];
    if (!old) live.append(node);
    else if (alike(old, node)) renew(old, node);
    else old.replaceWith(node);
  });
  while (live.childNodes.length > next.length) live.lastChild.remove();
}

function alike(old, node) {
  return old.nodeType === node.nodeType && old.nodeName === node.nodeName
    && (old.dataset?.key ?? "") === (node.dataset?.key ?? "");
}

function renew(old, node) {
  if (node.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!node.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    if (!KEPT.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const handler of ["onclick", "onsubmit", "onchange", "oninput", "ontoggle"]) {
    if (old[handler] !== node[handler]) old[handler] = node[handler];
  }
  morph(old, node);
}
