// One box to go anywhere: a page, a run by its id, or a search.
const dialog = () => document.getElementById("palette");
let at = 0;

function places(text) {
  const base = document.querySelector("meta[name='redisflow-base']").content;
  const pages = [...document.querySelectorAll(".side nav a")].map((a) => ({ label: a.dataset.name, href: a.href, icon: "chevron-right" }));
  const wanted = text.trim();
  if (!wanted) return pages;
  const found = pages.filter((page) => page.label.toLowerCase().includes(wanted.toLowerCase()));
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

export function openPalette() {
  at = 0;
  dialog().querySelector("input").value = "";
  show();
  dialog().showModal();
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
