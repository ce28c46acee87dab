// The keyboard. `?` shows what there is; nothing happens while somebody types.
import { toggleLive } from "./live.js";
import { openPalette } from "./palette.js";
import { toggleRun } from "./selection.js";

const rows = () => [...document.querySelectorAll("[data-row]")];
let at = null;
let goes = 0;

function mark(row) {
  document.querySelectorAll("[data-row].at-key").forEach((each) => each.classList.remove("at", "at-key"));
  if (!row) return;
  row.classList.add("at", "at-key");
  row.scrollIntoView({ block: "nearest" });
  at = row.dataset.row;
}

function move(by) {
  const all = rows();
  const now = all.findIndex((row) => row.dataset.row === at);
  mark(all[Math.min(Math.max(now + by, 0), all.length - 1)]);
}

const current = () => rows().find((row) => row.dataset.row === at);
const press = (name) => document.querySelector(`[data-key="${name}"]`)?.click();

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if ((event.metaKey || event.ctrlKey) && event.key === "k") { event.preventDefault(); openPalette(); return; }
    if (event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (Date.now() - goes < 1200) {
      goes = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.href = link.href; return; }
    }
    const row = current();
    const does = {
      "/": () => document.querySelector("[data-filter]")?.focus(),
      j: () => move(1),
      k: () => move(-1),
      Enter: () => event.target === document.body && (row?.querySelector("a.name") || (row?.matches("a") ? row : null))?.click(),
      x: () => toggleRun(row),
      c: () => press("cancel"),
      r: () => press("retry"),
      n: () => press("new"),
      p: toggleLive,
      t: () => document.querySelector("[data-theme-switch]").click(),
      g: () => { goes = Date.now(); },
      "?": () => document.getElementById("keys").showModal(),
    }[event.key];
    if (!does) return;
    if (event.key !== "Enter") event.preventDefault();
    does();
  });
  document.addEventListener("htmx:after:swap", () => { if (at) mark(current()); });
}
