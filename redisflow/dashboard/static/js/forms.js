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
        field.focus();
        throw new Error(`${field.dataset.label || field.name} is not JSON: ${error.message}`);
      }
      said.push([field.name, value]);
    } else if ("pairs" in field.dataset) said.push([field.name, JSON.stringify(pairs(value))]);
    else said.push([field.name, JSON.stringify(value)]);
  }
  return said;
}

function pairs(text) {
  return Object.fromEntries(text.split(/[\s,]+/).filter(Boolean).map((pair) => {
    const at = pair.indexOf("=");
    return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
  }));
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
