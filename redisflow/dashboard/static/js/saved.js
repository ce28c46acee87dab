// Filters that somebody saved, in this browser: a chip that leads there, and one that forgets it.
import { toast } from "./toast.js";

const KEY = "redisflow-views";
const read = () => {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || [];
  } catch {
    return [];
  }
};

function show() {
  const box = document.querySelector("[data-saved]");
  if (!box) return;
  const current = box.dataset.saved;
  const icons = document.querySelector("meta[name='redisflow-icons']").content;
  const chips = read().map((view) => {
    const chip = document.createElement("span");
    chip.className = "chip saved";
    const link = document.createElement("a");
    link.href = `?q=${encodeURIComponent(view)}`;
    link.textContent = view;
    if (view === current) link.ariaCurrent = "true";
    const forget = document.createElement("button");
    forget.type = "button";
    forget.className = "copy";
    forget.dataset.forget = view;
    forget.ariaLabel = `Forget ${view}`;
    forget.innerHTML = `<svg class="icon" aria-hidden="true"><use href="${icons}#x"></use></svg>`;
    chip.append(link, forget);
    return chip;
  });
  const label = document.createElement("span");
  label.className = "muted";
  label.textContent = "Saved:";
  box.replaceChildren(...(chips.length ? [label, ...chips] : []));
  const keep = document.querySelector("[data-keep]");
  if (keep) keep.hidden = !current || read().includes(current);
}

export function startSaved() {
  show();
  document.addEventListener("htmx:after:swap", show);
  document.addEventListener("click", (event) => {
    const forget = event.target.closest("[data-forget]");
    if (forget) localStorage.setItem(KEY, JSON.stringify(read().filter((view) => view !== forget.dataset.forget)));
    else if (event.target.closest("[data-keep]")) {
      const current = document.querySelector("[data-saved]").dataset.saved;
      localStorage.setItem(KEY, JSON.stringify([...new Set([...read(), current])].slice(-20)));
      toast("Saved in this browser");
    } else return;
    show();
  });
}
