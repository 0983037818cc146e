// The values of a chart in words: in a note at the cursor, a legend, a sentence, a table.

const MOST_ROWS = 12; // of the values as a table

/** The series after the one picked out; after the last, and before the first, none is. */
function turned(drawn, picked, turn) {
  const states = [null, ...drawn.keys()];
  return states[(states.indexOf(picked) + turn + states.length) % states.length];
}

/** A series at x, or where it had ended: its value, and the range of its members where it is their median. */
function reading({ x: xs, y, low, high, seeds }, x) {
  const at = xs.findLastIndex((value) => value <= x);
  const range = seeds?.[at] > 1 ? `${seeds[at]} seeds ${percent(low[at])} to ${percent(high[at])}` : null;
  return { value: percent(y[at]), range };
}

function spoken(drawn, x, picked) {
  const chosen = picked === null ? drawn : [drawn[picked]];
  const texts = chosen.map((one) => [one.name, ...Object.values(reading(one, x)).filter(Boolean)].join(", "));
  return `After ${count(x)} problems: ${texts.join("; ")}.`;
}

/** The note at the cursor about the curve picked out, where it covers little of it. */
function redrawNote(note, plot, x, drawn, { picked, member }) {
  note.hidden = picked === null;
  if (note.hidden) return;
  const series = drawn[picked];
  const marked = series.members[member];
  const { value, range } = reading(series, x);
  const lines = [marked && `${marked.name}: ${reading(marked, x).value}`, range ? `median ${value}` : value, range,
    `after ${count(x)} problems`];
  note.replaceChildren(html("b", {}, series.name), ...lines.filter(Boolean).map((text) => html("div", {}, text)));
  const [left, width, isLow] = [plot.valToPos(x, "x"), plot.over.clientWidth, plot.cursor.top > plot.over.clientHeight / 2];
  note.style.cssText = `${left < width / 2 ? "left" : "right"}: ${Math.min(left, width - left) + 14}px;`
    + `max-width: ${Math.max(left, width - left) - 20}px; ${isLow ? "top" : "bottom"}: 8px`;
}

/** The legend: an entry per series, with room for its value at the cursor. */
function keys(drawn, pick) {
  return html("ul", {}, ...drawn.map((series, i) => html("li",
    { onpointerenter: () => pick(i), onpointerleave: () => pick(null) },
    svg("svg", { width: 34, height: 10, "aria-hidden": "true" }, svg("line", {
      x1: 1, x2: 33, y1: 5, y2: 5, stroke: `var(${series.colour})`, "stroke-dasharray": series.dash.join(" ") || "none" })),
    html("span", { class: "name" }, series.name), html("b"))));
}

/** The values drawn, as a table: at some of the stops, always at the last. */
function valuesTable(drawn, stops, label, xTitle) {
  const every = Math.ceil(stops.length / MOST_ROWS);
  const some = [...stops].filter((_, i) => (stops.length - 1 - i) % every === 0);
  const heads = [xTitle, ...drawn.map((series) => series.name)].map((name) => html("th", { scope: "col" }, name));
  const rows = some.map((x) => html("tr", {}, html("th", { scope: "row" }, count(x)),
    ...drawn.map((series) => valueCell(reading(series, x)))));
  return html("details", { class: "values" }, html("summary", {}, "The same as a table"),
    html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Values of the chart" },
      html("table", {}, html("caption", {}, label), html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...rows))));
}

function valueCell({ value, range }) {
  return html("td", {}, value, range && html("small", { class: "block whole" }, range));
}
