// What a form says, as the JSON that is sent, and what makes two sendings of it one.
const keys = new WeakMap();

/** Pairs of a name and its JSON. What somebody typed as JSON stays as it was typed: read as numbers of this language,
 * large integers would change, and 1.0 would become 1. */
export function read(form) {
  const said = [];
  for (const field of form.elements) {
    if (!field.name || field.disabled) continue;
    const value = field.type === "checkbox" ? field.checked : field.value;
    if (value === "") continue;
    if ("json" in field.dataset) {
      try {
        JSON.parse(value);
      } catch (error) {
        throw wrong(field, `${field.dataset.label || field.name} is not JSON: ${error.message}`);
      }
      said.push([field.name, value]);
    } else if ("pairs" in field.dataset) said.push([field.name, JSON.stringify(pairs(field))]);
    else said.push([field.name, JSON.stringify(value)]);
  }
  return said;
}

const wrong = (field, text) => Object.assign(new Error(text), { field });

/** NAME=VALUE, several with spaces or commas between them; double quotes hold those together, as in the filter. */
function pairs(field) {
  const found = new Map();
  for (const part of parts(field)) {
    const at = part.indexOf("=");
    if (at < 1) throw wrong(field, `${JSON.stringify(part)} is no tag: one is written NAME=VALUE, and as "NAME=VALUE" where it has spaces or commas.`);
    const name = part.slice(0, at);
    if (found.has(name)) throw wrong(field, `The tag ${JSON.stringify(name)} is there twice.`);
    found.set(name, part.slice(at + 1));
  }
  return Object.fromEntries(found);
}

function parts(field) {
  const found = [];
  let part = null;
  let quoted = false;
  for (const [sign, escaped] of [...field.value.matchAll(/\\(["\\])|[^]/gu)]) {
    if (quoted && escaped) part += escaped;
    else if (sign === '"') {
      quoted = !quoted;
      part ??= "";
    } else if (!quoted && /^[\s,]$/u.test(sign)) {
      if (part !== null) found.push(part);
      part = null;
    } else part = (part ?? "") + sign;
  }
  if (quoted) throw wrong(field, "A quote is not closed.");
  return part === null ? found : [...found, part];
}

/** Says at its field what is wrong, or at the top of the form: it stays there until that is sent again. */
export function tell(form, { message, field }) {
  hush(form);
  const title = form.querySelector(":scope > h2");
  const it = document.createElement("p");
  it.className = "wrong";
  it.id = `wrong-${field?.id || "form"}`;
  it.setAttribute("role", "alert");
  if (field) {
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", [it.id, field.dataset.hint].filter(Boolean).join(" "));
    field.after(it);
    field.focus();
  } else if (title) title.after(it);
  else (form.querySelector(":scope > .form") ?? form).prepend(it);
  it.textContent = message;
  it.scrollIntoView({ block: "nearest" });
}

/** What was wrong is no longer said. */
export function hush(form) {
  for (const it of form.querySelectorAll(".wrong")) it.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    if (field.dataset.hint) field.setAttribute("aria-describedby", field.dataset.hint);
    else field.removeAttribute("aria-describedby");
  }
}

export const toJson = (said) => `{${said.map(([name, json]) => `${JSON.stringify(name)}: ${json}`).join(", ")}}`;

/** The same with an idempotency key, if it has none: the same one until it was answered, as long as it says the same. */
export function once(element, said) {
  if (said.some(([name]) => name === "key")) return said;
  const text = toJson(said);
  const known = keys.get(element);
  const key = known?.text === text ? known.key : [...crypto.getRandomValues(new Uint32Array(4))].map((each) => each.toString(36)).join("");
  keys.set(element, { text, key });
  return [...said, ["key", JSON.stringify(key)]];
}

export const answered = (element) => keys.delete(element);
