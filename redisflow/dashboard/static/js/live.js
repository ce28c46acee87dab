// The page follows what happens: its body is sent again by the server whenever it has changed, and morphed into place.
// Whoever wants to read in peace stops it, here or with `p`. A hidden tab is not updated (that is hx-sse's doing).
const button = () => document.querySelector("[data-live]");
const page = () => document.getElementById("page");
let paused = false;
let state = "begins";
let missed = false;
let reading = false;
let wanted = false;

function say(now) {
  state = now;
  const it = button();
  if (!it) return;
  it.dataset.state = paused ? "paused" : state;
  it.querySelector("span").textContent = paused ? "Paused" : state === "off" ? "Not connected" : "Live";
  it.ariaPressed = String(paused);
}

export function toggleLive() {
  paused = !paused;
  if (!paused) refresh();
  say(state);
}

/** Reads the page again, whatever its live state is: after an action, and when it goes on after a pause. */
export async function refresh() {
  wanted = reading;
  if (reading || !page()) return;
  reading = true;
  missed = false;
  try {
    await htmx.ajax("GET", location.href, { target: "#page", select: "#page > *", swap: "innerMorph" });
  } finally {
    reading = false;
    if (wanted) refresh();
    else catchUp();
  }
}

const busy = () => Boolean(document.querySelector("#page :is(input:not([type=checkbox]), textarea, select):focus, #page dialog[open]"));

// What comes while the page is being read is newer than what was asked for before, and would be overwritten by it.
function withhold(event) {
  if (!paused && !busy() && !reading) return;
  event.preventDefault();
  missed = true;
}

// What came meanwhile is read once nobody types any more, and what was asked for is here.
function catchUp() {
  setTimeout(() => { if (missed && !paused && !busy()) refresh(); });
}

export function startLive() {
  const it = page();
  if (!it?.hasAttribute("hx-sse:connect")) button()?.classList.add("hidden");
  // It may be connected before this file is loaded.
  if (it?._htmx?.sse?.status === 200) say("on");
  document.addEventListener("click", (event) => { if (event.target.closest("[data-live]")) toggleLive(); });
  document.addEventListener("htmx:sse:before:message", (event) => {
    if (event.detail.message.event) return;
    say("on");
    withhold(event);
  });
  document.addEventListener("focusout", catchUp);
  document.addEventListener("close", catchUp, true);
  document.addEventListener("htmx:sse:after:connection", () => say("on"));
  document.addEventListener("htmx:sse:error", () => say("off"));
  // The dashboard is there, and the server behind it is not: until the page is sent again.
  document.addEventListener("away", () => say("off"));
  addEventListener("offline", () => say("off"));
}
