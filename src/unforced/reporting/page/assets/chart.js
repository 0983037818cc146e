// A line chart as SVG. A series is one curve, or a median (thick) among its members (thin). A cursor follows the
// pointer or the arrow keys; the curve that is picked out stands out, and a note beside it says what it is.

const COLOURS = 7; // --series-0 .. --series-6 in the style sheet
const DASHES = ["none", "9 4", "2 3.5", "11 3 2 3"];
const MARGIN = { top: 10, right: 14, bottom: 40, left: 46 };

/**
 * Draw into a <figure>: `series` of {name, x, y, style, members} (y in 0..1, null where unknown; members: {name,
 * x, y}; style: a number for colour and dash), and a `level` {y, name} drawn across. `label` says what is drawn.
 */
function chart(figure, { series, level, label, xTitle }) {
  const drawn = series.map((each, i) => ({ ...each, ...styleOf(each.style ?? i), members: each.members ?? [] }));
  const stops = [...new Set(drawn.flatMap((each) => each.x))].sort((a, b) => a - b);
  const canvas = html("div", { class: "canvas", tabindex: 0, role: "application", "aria-label": `Chart: ${label}` });
  const note = html("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const when = html("p", { class: "at" });
  const legend = html("div", { class: "legend" }, when, keys(drawn, pick));
  const state = { at: stops.length - 1, picked: null, member: null };
  let place = null;

  function draw() {
    const width = Math.max(260, canvas.clientWidth);
    const height = Math.min(380, Math.max(230, 0.6 * width));
    place = scales(width, height, stops);
    canvas.replaceChildren(picture(width, height, place, drawn, level, xTitle), note);
    point();
  }

  function point() {
    const x = stops[state.at];
    redrawCursor(canvas.querySelector(".cursor"), place, x, drawn, state);
    emphasise(canvas, drawn, state);
    redrawNote(note, place, x, drawn, state);
    when.textContent = `after ${count(x)} problems, or where a run had ended`;
    legend.querySelectorAll("b").forEach((value, i) => { value.textContent = percent(valueAt(drawn[i], x)); });
  }

  function pick(picked, member = null) {
    Object.assign(state, { picked, member });
    point();
  }

  function follow(event) {
    const box = canvas.getBoundingClientRect();
    const x = place.toX(event.clientX - box.left);
    const distance = (stop) => Math.abs(stop - x);
    state.at = stops.reduce((best, stop, i) => (distance(stop) < distance(stops[best]) ? i : best), 0);
    pick(...nearest(drawn, x, place.toShare(event.clientY - box.top)));
  }

  function press(event) {
    const last = stops.length - 1;
    const to = { ArrowLeft: state.at - 1, ArrowRight: state.at + 1, Home: 0, End: last }[event.key];
    const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (to === undefined && turn === undefined) return;
    event.preventDefault();
    if (to !== undefined) state.at = Math.min(last, Math.max(0, to));
    pick(turn ? turned(drawn, state.picked, turn) : state.picked);
    say(spoken(drawn, stops[state.at], state.picked));
  }

  if (stops.length) {
    canvas.addEventListener("pointermove", follow);
    canvas.addEventListener("pointerdown", follow);
    canvas.addEventListener("pointerleave", () => pick(null));
    canvas.addEventListener("keydown", press);
    figure.replaceChildren(canvas, legend, valuesTable(drawn, stops, label, xTitle));
  } else figure.replaceChildren();
  figure.observer?.disconnect();
  if (!stops.length) return;
  figure.observer = new ResizeObserver(draw);
  figure.observer.observe(canvas);
  draw();
}

function styleOf(number) {
  return { colour: `var(--series-${number % COLOURS})`, dash: DASHES[number % DASHES.length] };
}

function scales(width, height, stops) {
  const [inner, tall] = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
  const most = Math.max(1, stops.at(-1));
  return {
    width,
    x: (value) => MARGIN.left + (inner * value) / most,
    y: (share) => MARGIN.top + tall * (1 - share),
    toX: (pixel) => ((pixel - MARGIN.left) / inner) * most,
    toShare: (pixel) => 1 - (pixel - MARGIN.top) / tall,
    ticks: ticks(most, Math.max(2, Math.floor(inner / 90))),
  };
}

/** Round whole numbers from 0 to `most`, about `wanted` of them. */
function ticks(most, wanted) {
  const rough = Math.max(1, most / wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

function short(number) {
  if (number >= 1e6) return `${+(number / 1e6).toPrecision(3)}M`;
  return number >= 1000 ? `${+(number / 1000).toPrecision(3)}k` : String(number);
}

function picture(width, height, place, drawn, level, xTitle) {
  const [left, right, bottom] = [MARGIN.left, width - MARGIN.right, place.y(0)];
  const rows = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    svg("line", { class: "grid", x1: left, x2: right, y1: place.y(share), y2: place.y(share) }),
    svg("text", { x: left - 8, y: place.y(share) + 4, "text-anchor": "end" }, percent(share, 0)),
  ]);
  const columns = place.ticks.map((value) =>
    svg("text", { class: "tick", x: place.x(value), y: bottom + 17, "text-anchor": "middle" }, short(value)));
  const title = svg("text", { x: (left + right) / 2, y: height - 5, "text-anchor": "middle" }, xTitle);
  const across = level && [
    svg("line", { class: "level", x1: left, x2: right, y1: place.y(level.y), y2: place.y(level.y) }),
    svg("text", { class: "level-name", x: right, y: place.y(level.y) - 5, "text-anchor": "end" }, level.name),
  ];
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    ...rows, ...columns, title, ...(across ?? []), ...drawn.map((each) => seriesLines(each, place)),
    svg("g", { class: "cursor" }));
}

function seriesLines(each, place) {
  return svg("g", { class: "series", stroke: each.colour },
    ...each.members.map((member) => svg("path", { class: "member", d: path(member, place) })),
    svg("path", { class: "curve", d: path(each, place), "stroke-dasharray": each.dash }));
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

function redrawCursor(group, place, x, drawn, { picked }) {
  const line = svg("line", { x1: place.x(x), x2: place.x(x), y1: place.y(0), y2: place.y(1) });
  const shown = drawn.filter((each, i) => (picked === null || picked === i) && x <= each.x.at(-1));
  const dots = shown.map((each) => [valueAt(each, x), each.colour]).filter(([value]) => value !== null)
    .map(([value, fill]) => svg("circle", { cx: place.x(x), cy: place.y(value), r: 4, fill }));
  group.replaceChildren(line, ...dots);
}

/** Let the series that is picked out stand out, and its member. */
function emphasise(canvas, drawn, { picked, member }) {
  canvas.classList.toggle("picking", picked !== null);
  canvas.querySelectorAll(".series").forEach((group, i) => {
    group.classList.toggle("picked", i === picked);
    group.querySelectorAll(".member").forEach((line, j) => {
      line.classList.toggle("picked", i === picked && j === member);
    });
  });
}
