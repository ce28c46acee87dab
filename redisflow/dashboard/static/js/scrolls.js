// A table that is wider than the window scrolls: also for the keyboard, where nothing in it can be reached by Tab.
function open() {
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth && !box.querySelector("a[href], button, input")) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.ariaLabel = box.closest(".card, .section")?.querySelector("h2, h3")?.textContent || "Table";
    } else for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  }
}

export function startScrolls() {
  open();
  document.addEventListener("htmx:after:swap", open);
  addEventListener("resize", open);
}
