// Runs that are chosen in a list, and what is done to all of them. What is chosen survives live updates.
import { act, ask, call } from "./actions.js";

const chosen = new Set();
let all = false;

const boxes = () => [...document.querySelectorAll("[data-run] input[type=checkbox]")];
const bar = () => document.getElementById("bulk");

function show() {
  for (const box of boxes()) box.checked = all || chosen.has(box.value);
  const page = document.querySelector("[data-choose-page]");
  if (page) page.checked = boxes().length > 0 && boxes().every((box) => box.checked);
  const it = bar();
  if (!it) return;
  it.hidden = !all && chosen.size === 0;
  const { matching } = it.dataset;
  const every = matching === undefined ? "All" : `All ${Number(matching).toLocaleString("en")}`;
  it.querySelector("[data-count]").textContent = all ? `${every} that match` : `${chosen.size} chosen`;
  // Of those that match none is in a state in which this can be done.
  for (const button of it.querySelectorAll("[data-bulk]")) button.disabled = all && button.dataset.reach === "0";
  it.querySelector("[data-all]").hidden = all;
}

export function toggleRun(row) {
  const box = row?.querySelector("input[type=checkbox]");
  if (!box) return;
  all = false;
  chosen.has(box.value) ? chosen.delete(box.value) : chosen.add(box.value);
  show();
}

const runs = (count) => `${count.toLocaleString("en")} ${count === 1 ? "run" : "runs"}`;

/** Which runs are meant, and how many where the page knows it. */
function matching({ reach, meant }) {
  const many = reach === undefined ? "all runs" : `all ${runs(Number(reach))}`;
  return `${many} that match ${bar().dataset.query}${meant ? ` and ${meant}` : ""}`;
}

async function begin(button) {
  const verb = button.dataset.bulk;
  const what = all ? matching(button.dataset) : runs(chosen.size);
  const yes = await ask(`${button.textContent.trim()} ${what}?`, { danger: button.dataset.danger !== undefined, verb: button.textContent.trim() });
  if (!yes) return;
  await act(button, async () => {
    const job = await call("POST", "api/v1/bulk", all ? { verb, q: bar().dataset.query } : { verb, ids: [...chosen] });
    chosen.clear();
    all = false;
    location.href = `${bar().dataset.jobs}/${encodeURIComponent(job.id)}`;
    return true;
  });
}

export function startSelection() {
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-choose-page]")) {
      all = false;
      for (const box of boxes()) event.target.checked ? chosen.add(box.value) : chosen.delete(box.value);
    } else if (event.target.closest("[data-run]") && event.target.type === "checkbox") {
      all = false;
      event.target.checked ? chosen.add(event.target.value) : chosen.delete(event.target.value);
    } else return;
    show();
  });
  document.addEventListener("click", (event) => {
    const target = event.target;
    if (target.closest("[data-all]")) { all = true; show(); }
    else if (target.closest("[data-none]")) { all = false; chosen.clear(); show(); }
    else if (target.closest("[data-bulk]")) begin(target.closest("[data-bulk]"));
  });
  document.addEventListener("htmx:after:swap", show);
}
