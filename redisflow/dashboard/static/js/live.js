// The page follows what happens: its body is sent again by the server whenever it has changed, and morphed into place.
// Whoever wants to read in peace stops it, here or with `p`. A hidden tab is not updated (that is hx-sse's doing).
const button = () => document.querySelector("[data-live]");
const page = () => document.getElementById("page");
let paused = false;

function say(state) {
  const it = button();
  if (!it) return;
  it.dataset.state = paused ? "paused" : state;
  it.querySelector("span").textContent = paused ? "Paused" : state === "off" ? "Not connected" : "Live";
  it.ariaPressed = String(paused);
}

export function toggleLive() {
  paused = !paused;
  if (!paused) refresh();
  say("on");
}

/** Reads the page again, whatever its live state is: after an action, and when it goes on after a pause. */
export function refresh() {
  const it = page();
  if (it) htmx.ajax("GET", location.href, { target: "#page", select: "#page > *", swap: "innerMorph" });
}

const busy = () => Boolean(document.querySelector("#page :is(input, textarea, select):focus"));

export function startLive() {
  const it = page();
  if (!it?.hasAttribute("hx-sse:connect")) button()?.classList.add("hidden");
  // It may be connected before this file is loaded.
  if (it?._htmx?.sse?.status === 200) say("on");
  document.addEventListener("click", (event) => { if (event.target.closest("[data-live]")) toggleLive(); });
  // A form that somebody types into is left alone; the next change brings it all.
  document.addEventListener("htmx:sse:before:message", (event) => { if (paused || busy()) event.preventDefault(); });
  document.addEventListener("htmx:sse:after:connection", () => say("on"));
  document.addEventListener("htmx:sse:error", () => say("off"));
  document.addEventListener("offline", () => say("off"));
}
