// The form that starts a run: once a workflow is named, what stands there of it is read from the page of that workflow.
let asked = 0;

async function follow(field) {
  const url = new URL(location.href);
  if (field.value) url.searchParams.set("workflow", field.value);
  else url.searchParams.delete("workflow");
  const now = ++asked;
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (now !== asked) return;
  for (const part of document.querySelectorAll("[data-of-workflow]")) {
    const other = page.getElementById(part.id);
    if (!other) continue;
    part.hidden = other.hidden;
    part.replaceChildren(...other.childNodes);
  }
  const input = page.getElementById("input");
  if (input) document.getElementById("input").placeholder = input.placeholder;
  history.replaceState(history.state, "", url);
}

export function startBegin() {
  document.addEventListener("change", (event) => {
    // Without it the form says less, and starts runs all the same.
    if (event.target.matches("[data-asks]")) follow(event.target).catch(() => {});
  });
}
