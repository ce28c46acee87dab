// Buttons and forms that change something. They speak to the JSON API, as any other client does.
//
//   <button data-post="api/v1/runs/1:cancel" data-confirm="Cancel this run?" data-said="Canceled">
//   <form data-post="api/v1/runs" data-said="Started"> with fields; those with data-json hold JSON
import { refresh } from "./live.js";
import { toast } from "./toast.js";

const meta = (name) => document.querySelector(`meta[name='redisflow-${name}']`)?.content ?? "";

/** The JSON that the API answers; an Error with its words where it refuses. */
export async function call(method, path, body) {
  const response = await fetch(path.startsWith("/") ? path : `${meta("base")}/${path}`, {
    method,
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": meta("csrf") },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const said = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(said.detail || said.title || `${response.status} ${response.statusText}`);
  return said;
}

export function ask(question, { danger = false, verb = "Yes" } = {}) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("p").textContent = question;
  const yes = dialog.querySelector("[value=yes]");
  yes.textContent = verb;
  yes.classList.toggle("danger", danger);
  yes.classList.toggle("primary", !danger);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answer) => dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true }));
}

async function act(element, body) {
  const { post, method = "POST", said = "Done", then } = element.dataset;
  try {
    const answer = await call(method, post, body);
    element.closest("dialog")?.close();
    const other = answer.run_id || (then === "run" && answer.id);
    if (then === "list") location.href = `${meta("base")}/runs`;
    else if (then === "run" && other) location.href = `${meta("base")}/runs/${encodeURIComponent(other)}`;
    else {
      const reached = answer.count === undefined ? said : `${said} to ${answer.count} ${answer.count === 1 ? "run" : "runs"}`;
      toast(other ? `${said}: ` : reached, other ? { href: `${meta("base")}/runs/${encodeURIComponent(other)}`, link: other.slice(0, 13) } : {});
      refresh();
    }
  } catch (error) {
    toast(error.message, { tone: "fail" });
  }
}

function read(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled) continue;
    const text = field.type === "checkbox" ? field.checked : field.value;
    if (text === "" ) continue;
    if ("json" in field.dataset) {
      try {
        body[field.name] = JSON.parse(text);
      } catch (error) {
        field.focus();
        throw new Error(`${field.dataset.label || field.name} is not JSON: ${error.message}`);
      }
    } else if ("pairs" in field.dataset) {
      body[field.name] = Object.fromEntries(text.split(/[\s,]+/).filter(Boolean).map((pair) => {
        const at = pair.indexOf("=");
        return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
      }));
    } else body[field.name] = text;
  }
  return body;
}

export function startActions() {
  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      event.preventDefault();
      await navigator.clipboard.writeText(copy.dataset.copy);
      toast(`Copied: ${copy.dataset.copy.slice(0, 80)}`);
      return;
    }
    const opener = event.target.closest("[data-open]");
    if (opener) {
      document.getElementById(opener.dataset.open)?.showModal();
      return;
    }
    if (event.target.closest("[data-close]")) event.target.closest("dialog")?.close();
    const button = event.target.closest("button[data-post]");
    if (!button || button.disabled) return;
    const { confirm, danger, verb } = button.dataset;
    if (confirm && !(await ask(confirm, { danger: danger !== undefined, verb: verb || button.textContent.trim() }))) return;
    button.disabled = true;
    await act(button, button.dataset.body ? JSON.parse(button.dataset.body) : {});
    button.disabled = false;
  });
  document.addEventListener("change", (event) => { if (event.target.matches("select[data-submit]")) event.target.form.submit(); });
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-post]");
    if (!form) return;
    event.preventDefault();
    const path = form.querySelector("[data-path]");
    if (path) form.dataset.post = form.dataset.template.replace("{}", encodeURIComponent(path.value));
    try {
      await act(form, read(form));
    } catch (error) {
      toast(error.message, { tone: "fail" });
    }
  });
}
