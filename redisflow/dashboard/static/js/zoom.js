// A part of a run's time is chosen by drawing over the axis; the page is then asked for with `from` and `to`, in seconds
// since the run was created. The axis says which part of its width shows which time: long idle stretches are drawn short.
const axis = (event) => event.target.closest?.("[data-scale]");
let drawn = null;

const percent = (svg, x) => {
  const box = svg.getBoundingClientRect();
  return Math.min(Math.max(((x - box.left) / box.width) * 100, 0), 100);
};

function seconds(svg, at) {
  const parts = JSON.parse(svg.dataset.scale);
  const [left, width, began, ended] = parts.find(([start, wide]) => at <= start + wide) ?? parts.at(-1);
  return began + (width ? ((at - left) / width) * (ended - began) : 0);
}

function mark(svg, left, right) {
  const shown = svg.querySelector(".zoom");
  shown.setAttribute("x", `${left}%`);
  shown.setAttribute("width", `${right - left}%`);
}

export function startZoom() {
  document.addEventListener("pointerdown", (event) => {
    const svg = axis(event);
    if (!svg || event.button !== 0 || svg.dataset.scale === "[]") return;
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    drawn = { svg, from: percent(svg, event.clientX) };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const at = percent(drawn.svg, event.clientX);
    mark(drawn.svg, Math.min(drawn.from, at), Math.max(drawn.from, at));
  });
  document.addEventListener("pointerup", (event) => {
    if (!drawn) return;
    const { svg, from } = drawn;
    const to = percent(svg, event.clientX);
    drawn = null;
    mark(svg, 0, 0);
    if (Math.abs(to - from) < 1) return;
    const url = new URL(location.href);
    url.searchParams.set("from", seconds(svg, Math.min(from, to)).toFixed(3));
    url.searchParams.set("to", seconds(svg, Math.max(from, to)).toFixed(3));
    url.searchParams.delete("page");
    location.assign(url);
  });
  document.addEventListener("pointercancel", () => { drawn = null; });
}
