// Charts of the metrics page, drawn by uPlot from the numbers that stand in the page.
const made = new Map();

const token = (name) => {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
};

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

// Seconds in the unit that the largest value beside it is read in.
const amount = (value, unit, largest = value) =>
  unit !== "s" ? value.toLocaleString() : largest < 1 ? `${(value * 1000).toLocaleString()} ms` : `${value.toLocaleString()} s`;

// Runs are counted: there is no half of one.
const WHOLE = [...Array(10).keys()].flatMap((power) => [1, 2, 5].map((each) => each * 10 ** power));

const last = (values) => values.findLast((value) => value != null);

// A point is made of a minute or five. The last one may still be under way, and the one before not be told by all workers.
const latest = (values) => last(values.slice(-3));

function options(chart, width) {
  const axis = { stroke: token("muted"), grid: { stroke: token("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return {
    width,
    height: 220,
    cursor: { y: false, points: { size: 7 } },
    legend: { live: true },
    scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, chart.unit ? 0.01 : 1)] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 52, ...(chart.unit ? {} : { incrs: WHOLE }), values: (_, ticks) => ticks.map((tick) => amount(tick, chart.unit, last(ticks))) }],
    series: [
      { label: "Time", value: (_, at) => (at == null ? "latest" : clock(at)) },
      ...chart.series.map(({ label, tone, fill }) => {
        const stroke = token(tone);
        return {
          label, stroke, width: 1.75, points: { size: 5, fill: stroke },
          fill: fill ? stroke.replace(/^(\w+)\((.*?)(?:\s*\/.*)?\)$/, "$1($2 / 0.12)").replace(/^rgb\((\d+), (\d+), (\d+) \/ /, "rgba($1, $2, $3, ") : undefined,
          value: (plot, value, line, at) => {
            const shown = at == null ? latest(plot.data[line]) : value;
            return shown == null ? "–" : amount(shown, chart.unit);
          },
        };
      }),
    ],
  };
}

function draw() {
  for (const [element, { plot }] of made) if (!element.isConnected) { plot.destroy(); made.delete(element); }
  for (const element of document.querySelectorAll("[data-chart]")) {
    const source = document.getElementById(element.dataset.chart);
    if (!source) continue;
    const chart = JSON.parse(source.textContent);
    const lines = JSON.stringify(chart.series);
    const known = made.get(element);
    if (known?.lines === lines) known.plot.setData(chart.data);
    else {
      known?.plot.destroy(); // other queues are the deepest now
      made.set(element, { lines, plot: new uPlot(options(chart, element.clientWidth), chart.data, element) });
    }
  }
}

export function startCharts() {
  if (!window.uPlot) return;
  draw();
  document.addEventListener("htmx:after:swap", draw);
  const again = () => { for (const [element, { plot }] of made) { plot.destroy(); made.delete(element); } draw(); };
  document.addEventListener("redisflow:theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("resize", () => { for (const [element, { plot }] of made) plot.setSize({ width: element.clientWidth, height: 220 }); });
}
