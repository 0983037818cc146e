// A line chart as SVG. Its legend shows the values at the cursor, which follows the pointer or the arrow keys.

const COLOURS = 7; // --series-0 .. --series-6 in the style sheet
const DASHES = ["none", "7 3", "2 3"];
const MARGIN = { top: 10, right: 14, bottom: 40, left: 46 };

/**
 * Draw into a <figure>: `series` of {name, x, y} (y in 0..1, null where unknown), and a `level` {y, name}
 * drawn across. `label` says in words what is drawn.
 */
function chart(figure, { series, level, label, xTitle }) {
  const drawn = series.map((each, i) => ({
    ...each,
    colour: `var(--series-${i % COLOURS})`,
    dash: DASHES[Math.floor(i / COLOURS) % DASHES.length],
  }));
  const stops = [...new Set(series.flatMap((each) => each.x))].sort((a, b) => a - b);
  const canvas = html("div", { class: "canvas", tabindex: 0, role: "group", "aria-label": label });
  const legend = html("div", { class: "legend" });
  let at = stops.length - 1;
  let place = null;

  function draw() {
    const width = Math.max(260, canvas.clientWidth);
    const height = Math.min(340, Math.max(230, 0.6 * width));
    place = scales(width, height, stops);
    canvas.replaceChildren(picture(width, height, place, drawn, level, stops, xTitle));
    point();
  }

  function point() {
    if (stops.length === 0) return;
    const x = stops[at];
    const readings = drawn.map((each) => ({ ...each, value: each.y[lastUpTo(each.x, x)] ?? null }));
    redrawCursor(canvas.querySelector(".cursor"), place, x, readings);
    legend.replaceChildren(html("p", { class: "at" }, `after ${count(x)} problems, or where a run had ended`), keys(readings, level));
  }

  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    const x = place.toX(event.clientX - box.left);
    at = stops.reduce((best, stop, i) => (Math.abs(stop - x) < Math.abs(stops[best] - x) ? i : best), 0);
    point();
  }

  canvas.addEventListener("pointermove", nearest);
  canvas.addEventListener("pointerdown", nearest);
  canvas.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: stops.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    at = Math.min(stops.length - 1, Math.max(0, to));
    point();
  });
  figure.replaceChildren(canvas, legend);
  figure.observer?.disconnect();
  figure.observer = new ResizeObserver(draw);
  figure.observer.observe(canvas);
  draw();
}

/** The last index of `xs` (ascending) that is not beyond x; -1 if there is none. */
function lastUpTo(xs, x) {
  return xs.findLastIndex((each) => each <= x);
}

function scales(width, height, stops) {
  const [inner, tall] = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
  const most = Math.max(1, stops.at(-1) ?? 1);
  return {
    x: (value) => MARGIN.left + (inner * value) / most,
    y: (share) => MARGIN.top + tall * (1 - share),
    toX: (pixel) => ((pixel - MARGIN.left) / inner) * most,
    ticks: ticks(most, Math.max(2, Math.floor(inner / 90))),
  };
}

/** Round numbers from 0 to `most`, about `wanted` of them. */
function ticks(most, wanted) {
  const rough = most / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

function short(number) {
  if (number >= 1e6) return `${+(number / 1e6).toPrecision(3)}M`;
  return number >= 1000 ? `${+(number / 1000).toPrecision(3)}k` : String(number);
}

function picture(width, height, place, drawn, level, stops, xTitle) {
  const [left, right, bottom] = [MARGIN.left, width - MARGIN.right, place.y(0)];
  const rows = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    svg("line", { class: "grid", x1: left, x2: right, y1: place.y(share), y2: place.y(share) }),
    svg("text", { x: left - 8, y: place.y(share) + 4, "text-anchor": "end" }, percent(share, 0)),
  ]);
  const columns = place.ticks.map((value) =>
    svg("text", { x: place.x(value), y: bottom + 17, "text-anchor": "middle" }, short(value)));
  const title = svg("text", { x: (left + right) / 2, y: height - 5, "text-anchor": "middle" }, xTitle);
  const across = level && [
    svg("line", { class: "level", x1: left, x2: right, y1: place.y(level.y), y2: place.y(level.y) }),
    svg("text", { class: "level-name", x: right, y: place.y(level.y) - 5, "text-anchor": "end" }, level.name),
  ];
  const lines = drawn.map((each) =>
    svg("path", { class: "curve", d: path(each, place), stroke: each.colour, "stroke-dasharray": each.dash }));
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    ...rows, ...columns, title, ...(across ?? []), ...lines, svg("g", { class: "cursor" }));
}

function path({ x, y }, place) {
  let begun = false;
  return x.map((value, i) => {
    if (y[i] === null) { begun = false; return ""; }
    const step = `${begun ? "L" : "M"}${place.x(value).toFixed(1)},${place.y(y[i]).toFixed(1)}`;
    begun = true;
    return step;
  }).join("");
}

function redrawCursor(group, place, x, readings) {
  const line = svg("line", { x1: place.x(x), x2: place.x(x), y1: place.y(0), y2: place.y(1) });
  const dots = readings.filter((each) => each.value !== null && x <= each.x.at(-1)).map((each) =>
    svg("circle", { cx: place.x(x), cy: place.y(each.value), r: 4, fill: each.colour }));
  group.replaceChildren(line, ...dots);
}

function keys(readings, level) {
  const items = readings.map((each) => html("li", {},
    svg("svg", { width: 24, height: 10, "aria-hidden": "true" },
      svg("line", { x1: 1, x2: 23, y1: 5, y2: 5, stroke: each.colour, "stroke-dasharray": each.dash })),
    html("span", { class: "name" }, each.name), html("b", {}, percent(each.value))));
  return html("ul", { "data-level": level ? percent(level.y) : null }, ...items);
}
