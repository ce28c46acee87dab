// What somebody has opened or closed stays so when the page is sent again.
const kept = new WeakSet();

export function startFolds() {
  document.addEventListener("click", (event) => {
    const summary = event.target.closest("summary");
    if (summary) kept.add(summary.parentElement);
  });
  htmx.registerExtension("folds", {
    htmx_before_morph_attr: (element, { attrName }) => attrName !== "open" || !kept.has(element),
  });
}
