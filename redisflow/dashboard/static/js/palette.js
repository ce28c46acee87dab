// One box to go anywhere: a page, a workflow by a part of its name, a run by its id, or a search.
import { call } from "./actions.js";

const MOST = 8;
const dialog = () => document.getElementById("palette");
let at = 0;
// The names of all workflows that have runs: asked for when the box is opened for the first time.
let workflows = null;

function places(text) {
  const base = document.querySelector("meta[name='redisflow-base']").content;
  const pages = [...document.querySelectorAll(".side .pages a")].map((a) => ({ label: a.dataset.name, href: a.href, icon: "chevron-right" }));
  const { new: begin } = dialog().dataset;
  if (begin) pages.push({ label: "New run", href: begin, icon: "plus" });
  pages.push(...[...document.querySelectorAll(".namespaces a")].map((a) => ({ label: `Namespace ${a.textContent}`, href: a.href, icon: "database" })));
  const wanted = text.trim();
  if (!wanted) return pages;
  const found = pages.filter((page) => page.label.toLowerCase().includes(wanted.toLowerCase()));
  const named = (workflows ?? []).filter((name) => name.toLowerCase().includes(wanted.toLowerCase())).slice(0, MOST);
  found.push(...named.map((name) => ({ label: name, href: `${base}/workflows/${encodeURIComponent(name)}`, icon: "workflow" })));
  if (/^[0-9a-f-]{32,36}$/i.test(wanted)) found.unshift({ label: `Run ${wanted}`, href: `${base}/runs/${encodeURIComponent(wanted)}`, icon: "list-tree" });
  const search = /[:<>=]/.test(wanted) ? wanted : `workflow:${wanted}`;
  if (!/\s/.test(wanted) || search === wanted) found.push({ label: `Runs with ${search}`, href: `${base}/runs?q=${encodeURIComponent(search)}`, icon: "search" });
  return found;
}

function show() {
  const list = dialog().querySelector("ul");
  const icons = document.querySelector("meta[name='redisflow-icons']").content;
  list.replaceChildren(...places(dialog().querySelector("input").value).map(({ label, href, icon }, place) => {
    const a = document.createElement("a");
    a.href = href;
    a.className = place === at ? "at" : "";
    a.insertAdjacentHTML("afterbegin", `<svg class="icon" aria-hidden="true"><use href="${icons}#${icon}"></use></svg>`);
    a.append(label);
    const item = document.createElement("li");
    item.append(a);
    return item;
  }));
}

async function learn() {
  if (workflows) return;
  workflows = [];
  try {
    workflows = (await call("GET", "api/v1/workflows")).workflows.map(({ id }) => id);
    if (dialog().open) show();
  } catch {
    workflows = null; // asked for again next time; pages and runs are found all the same
  }
}

export function openPalette() {
  at = 0;
  dialog().querySelector("input").value = "";
  show();
  dialog().showModal();
  learn();
}

export function startPalette() {
  const input = dialog().querySelector("input");
  document.addEventListener("click", (event) => { if (event.target.closest("[data-palette]")) openPalette(); });
  input.addEventListener("input", () => { at = 0; show(); });
  input.addEventListener("keydown", (event) => {
    const links = [...dialog().querySelectorAll("a")];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      at = Math.min(Math.max(at + (event.key === "ArrowDown" ? 1 : -1), 0), links.length - 1);
      show();
    } else if (event.key === "Enter") {
      event.preventDefault();
      links[at]?.click();
    }
  });
  for (const each of document.querySelectorAll("dialog")) {
    each.addEventListener("click", (event) => { if (event.target === each && event.detail < 2) each.close(); });
  }
}
