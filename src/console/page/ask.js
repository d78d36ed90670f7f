// A question before something is done: what it means, a reason where one is kept, and two buttons.

import { h } from "./dom.js";

/** Told on the document when something was done. */
export const ACTED = "acted";

/**
 * Asks, and does it: `act` gets what was filled in. Stays open, and says why, if that fails. Gives what `act` gave, or
 * null if the person thought better of it.
 */
export function ask({ title, text, fields = [], confirm, act }) {
  return new Promise((resolve) => {
    const failed = h("p", { class: "failed", role: "alert" });
    const inputs = fields.map(field);
    const send = h("button", { type: "submit", class: "primary" }, confirm);
    const close = (result) => {
      dialog.close();
      dialog.remove();
      resolve(result);
    };
    const onsubmit = async (event) => {
      event.preventDefault();
      const given = Object.fromEntries(inputs.map(({ name, read }) => [name, read()]));
      send.disabled = true;
      failed.textContent = "";
      try {
        close((await act(given)) ?? true);
        document.dispatchEvent(new Event(ACTED));
      } catch (error) {
        send.disabled = false;
        failed.textContent = `${error.message}${error.requestId ? ` (request ${error.requestId})` : ""}`;
      }
    };
    const dialog = h("dialog", { "aria-labelledby": "ask-title", oncancel: (event) => {
      // That of a file which was not chosen after all comes by here too.
      if (event.target !== dialog) return;
      event.preventDefault();
      close(null);
    } },
      h("form", { onsubmit },
        h("h2", { id: "ask-title" }, title),
        text && h("p", {}, text),
        inputs.map(({ label }) => label),
        failed,
        h("div", { class: "buttons" },
          h("button", { type: "button", onclick: () => close(null) }, "Leave it"), send)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** The whole number that was written, or none if nothing was. Anything else is refused: it must not be taken for nothing. */
export function wholeNumber(text, what) {
  if (text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new Error(`${what} must be a whole number, such as 5.`);
  return Number(text);
}

/** The field that says why. It stands in the record for ever. */
export const REASON = { name: "reason", label: "Why", hint: "Kept with your name on the record.", required: true };

function field({ name, label, hint, required, kind = "text", options = [], value = "" }) {
  const id = `ask-${name}`;
  const shared = { id, name, required, "aria-describedby": hint && `${id}-hint` };
  const hinted = hint && h("small", { id: `${id}-hint` }, hint);
  if (kind === "check") {
    const input = h("input", { ...shared, type: "checkbox", checked: Boolean(value) });
    return { name, read: () => input.checked, label: h("label", { class: "check", for: id }, input, label, hinted) };
  }
  if (kind === "file") {
    const input = h("input", { ...shared, type: "file", accept: ".csv,text/csv" });
    return { name, read: () => input.files[0], label: h("label", { for: id }, label, input, hinted) };
  }
  const input = kind === "choice"
    ? h("select", shared, options.map(([option, text]) => h("option", { value: option, selected: option === value }, text)))
    : kind === "long"
      ? h("textarea", { ...shared, rows: 8, spellcheck: "false" })
      : kind === "time"
        ? h("input", { ...shared, type: "datetime-local", step: 1 })
      : h("input", { ...shared, maxlength: 255, autocomplete: "off", value });
  if (kind === "long") input.value = value;
  if (kind === "time") {
    return { name, read: () => input.value && new Date(input.value).toISOString(), label: h("label", { for: id }, label, input, hinted) };
  }
  return { name, read: () => input.value.trim(), label: h("label", { for: id }, label, input, hinted) };
}
