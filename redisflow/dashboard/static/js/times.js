// The server writes instants in UTC; here they become what a reader wants: how long ago, and the local time on hover.
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS[at];
  const whole = Math.floor(seconds / size);
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((seconds - whole * size) / next[1]) : 0;
  return rest ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

function show(element) {
  const instant = new Date(element.dateTime);
  const seconds = (Date.now() + skew() - instant) / 1000;
  if (!element.title) element.title = `${instant.toLocaleString()}\n${element.dateTime}`;
  let text;
  if (element.dataset.kind === "since") text = duration(Math.max(0, seconds));
  else if (Math.abs(seconds) < 1) text = "now";
  else text = seconds >= 0 ? `${coarse(seconds)} ago` : `in ${coarse(-seconds)}`;
  if (element.textContent !== text) element.textContent = text;
}

function coarse(seconds) {
  const [unit, size] = UNITS.find(([, each]) => seconds >= each) || UNITS[3];
  return `${Math.floor(seconds / size)} ${unit}`;
}

// Ages are by the server's clock: this browser's may be wrong.
const skew = () => Number(document.documentElement.dataset.skew || 0);

export function showTimes(root = document) {
  root.querySelectorAll("time[datetime]").forEach(show);
}

export function startTimes() {
  const said = document.querySelector("meta[name='redisflow-now']");
  if (said) document.documentElement.dataset.skew = String(new Date(said.content) - Date.now());
  showTimes();
  setInterval(() => { if (!document.hidden) showTimes(); }, 1000);
  document.addEventListener("htmx:after:swap", () => showTimes());
}
