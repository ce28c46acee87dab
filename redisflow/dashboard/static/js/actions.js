// Buttons and forms that change something. They speak to the JSON API, as any other client does.
//
//   <button data-post="api/v1/runs/1:cancel" data-confirm="Cancel this run?" data-said="Canceled">
//   <form data-post="api/v1/runs" data-said="Started"> with fields; those with data-json hold JSON
//
// With data-once what is sent carries an idempotency key.
import { answered, hush, once, read, tell, toJson } from "./forms.js";
import { refresh } from "./live.js";
import { toast } from "./toast.js";

const meta = (name) => document.querySelector(`meta[name='redisflow-${name}']`)?.content ?? "";

// What is being sent, and is not sent again meanwhile.
let busy = new WeakSet();

/** The JSON that the API answers; an Error with its words where it refuses. The body is an object, or JSON. */
export async function call(method, path, body) {
  const response = await fetch(path.startsWith("/") ? path : `${meta("base")}/${path}`, {
    method,
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": meta("csrf") },
    body: typeof body === "object" ? JSON.stringify(body) : body,
  });
  const said = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(said.detail || said.title || `${response.status} ${response.statusText}`), { kind: said.error });
  return said;
}

// Of the question that is asked now.
let answer = () => {};

export function ask(question, { danger = false, verb = "Yes" } = {}) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("p").textContent = question;
  const yes = dialog.querySelector("[value=yes]");
  yes.textContent = verb;
  yes.classList.toggle("danger", danger);
  yes.classList.toggle("primary", !danger);
  dialog.returnValue = "";
  dialog.showModal();
  answer(false);
  // A browser may tell of the closing of an earlier question when this one is asked already.
  dialog.onclose = () => { if (!dialog.open) answer(dialog.returnValue === "yes"); };
  return new Promise((resolve) => { answer = resolve; });
}

/** Does it, unless it is being done: a page that is about to be left stays busy. */
export async function act(element, doIt) {
  if (busy.has(element)) return;
  busy.add(element);
  const isForm = element.matches("form");
  const buttons = isForm ? [...element.querySelectorAll("[type=submit]")] : [element];
  for (const each of buttons) each.disabled = true;
  let leaves = false;
  try {
    if (isForm) hush(element);
    leaves = await doIt();
  } catch (error) {
    if (isForm) tell(element, error);
    else toast(error.message, { tone: "fail" });
  }
  if (leaves) return;
  busy.delete(element);
  for (const each of buttons) each.disabled = false;
}

/** Whether it leads to another page. */
async function send(element, plain) {
  const { said = "Done", then } = element.dataset;
  const told = await request(element, "once" in element.dataset ? once(element, plain) : plain);
  if (told === null) return false;
  answered(element);
  element.closest("dialog")?.close();
  const other = told.run_id || (then === "run" && told.id);
  if (then === "list" || (then === "run" && other)) {
    location.href = then === "list" ? `${meta("base")}/runs` : `${meta("base")}/runs/${encodeURIComponent(other)}`;
    return true;
  }
  const reached = told.count === undefined ? said : `${said} to ${told.count} ${told.count === 1 ? "run" : "runs"}`;
  toast(other ? `${said}: ` : reached, other ? { href: `${meta("base")}/runs/${encodeURIComponent(other)}`, link: other.slice(0, 13) } : {});
  refresh();
  return false;
}

/** What the API answers; null where it did not know the workflow, and nobody wanted to start it all the same. */
async function request(element, said) {
  const { post, method = "POST", unknown } = element.dataset;
  try {
    return await call(method, post, toJson(said));
  } catch (error) {
    if (error.kind !== "UnknownWorkflow" || !unknown) throw error;
    return (await ask(unknown, { verb: "Start it" })) ? call(method, post, toJson([...said, ["unknown", "true"]])) : null;
  }
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
    act(button, () => send(button, []));
  });
  // A link may lead to a form that stands in a dialog.
  const linked = location.hash && document.querySelector(`dialog[data-linked][id="${CSS.escape(location.hash.slice(1))}"]`);
  if (linked) {
    history.replaceState(history.state, "", location.pathname + location.search);
    linked.showModal();
  }
  document.addEventListener("change", (event) => { if (event.target.matches("select[data-submit]")) event.target.form.submit(); });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-post]");
    if (!form) return;
    event.preventDefault();
    const path = form.querySelector("[data-path]");
    if (path) form.dataset.post = form.dataset.template.replace("{}", encodeURIComponent(path.value));
    act(form, () => send(form, read(form)));
  });
  // Brought back as it was left.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    busy = new WeakSet();
    for (const each of document.querySelectorAll("[data-post]:disabled, form[data-post] :disabled")) each.disabled = false;
  });
}
