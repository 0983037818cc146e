// What is read off a chart: the curve that is meant, and its values in a note, a legend, a sentence, a table.

const MOST_ROWS = 12; // of the values as a table

/** The value at x, or where the curve had ended; null where it had not begun. */
function valueAt({ x: xs, y }, x) {
  return y[xs.findLastIndex((each) => each <= x)] ?? null;
}

/** Where the line is drawn at x, between its points; null where it is not. */
function heightAt({ x: xs, y }, x) {
  const right = xs.findIndex((each) => each >= x);
  if (right <= 0) return right === 0 && xs[0] === x ? y[0] : null;
  const [left, share] = [right - 1, (x - xs[right - 1]) / (xs[right] - xs[right - 1])];
  return y[left] === null || y[right] === null ? null : y[left] + share * (y[right] - y[left]);
}

/** The [series, member] whose line is drawn nearest to a height, as indices; a member of null is the series itself. */
function nearest(drawn, x, share) {
  const lines = drawn.flatMap((each, i) =>
    [[each, i, null], ...each.members.map((member, j) => [member, i, j])]);
  const within = Math.min(x, Math.max(...drawn.flatMap((each) => each.x)));
  const [best] = lines.map(([line, i, j]) => ({ i, j, height: heightAt(line, Math.max(0, within)) }))
    .filter(({ height }) => height !== null)
    .sort((a, b) => Math.abs(a.height - share) - Math.abs(b.height - share));
  return best ? [best.i, best.j] : [null, null];
}

/** The series after the one picked out, by way of none. */
function turned(drawn, picked, turn) {
  const states = [null, ...drawn.keys()];
  return states[(states.indexOf(picked) + turn + states.length) % states.length];
}

/** A series at x: its value, and the range of its members where it is their median. */
function reading(each, x) {
  const values = each.members.map((member) => valueAt(member, x)).filter((value) => value !== null);
  const range = values.length > 1
    ? `${values.length} seeds ${percent(Math.min(...values))} to ${percent(Math.max(...values))}` : null;
  return { value: percent(valueAt(each, x)), range };
}

function spoken(drawn, x, picked) {
  const heard = picked === null ? drawn : [drawn[picked]];
  const words = heard.map((each) => [each.name, ...Object.values(reading(each, x)).filter(Boolean)].join(", "));
  return `After ${count(x)} problems: ${words.join("; ")}.`;
}

/** The note beside the curve that is picked out; on the side where there is room. */
function redrawNote(note, place, x, drawn, { picked, member }) {
  note.hidden = picked === null;
  if (note.hidden) return;
  const each = drawn[picked];
  const one = each.members[member];
  const { value: middle, range } = reading(each, x);
  const lines = [one && `${one.name}: ${percent(valueAt(one, x))}`, range ? `median ${middle}` : middle, range,
    `after ${count(x)} problems`];
  note.replaceChildren(html("b", {}, each.name), ...lines.filter(Boolean).map((text) => html("div", {}, text)));
  const value = valueAt(one ?? each, x) ?? 0;
  const early = place.x(x) < place.width / 2;
  note.style.cssText = `${early ? "left" : "right"}: ${(early ? place.x(x) : place.width - place.x(x)) + 14}px;`
    + `max-width: ${Math.max(place.x(x), place.width - place.x(x)) - 28}px;`
    + (value < 0.5 ? `bottom: calc(100% - ${place.y(value) - 8}px)` : `top: ${place.y(value) + 8}px`);
}

/** The legend: an entry per series, with room for its value at the cursor. */
function keys(drawn, pick) {
  return html("ul", {}, ...drawn.map((each, i) => html("li",
    { onpointerenter: () => pick(i), onpointerleave: () => pick(null) },
    svg("svg", { width: 34, height: 10, "aria-hidden": "true" },
      svg("line", { x1: 1, x2: 33, y1: 5, y2: 5, stroke: each.colour, "stroke-dasharray": each.dash })),
    html("span", { class: "name" }, each.name), html("b"))));
}

/** What is drawn, as a table: some of the stops, the last one always. */
function valuesTable(drawn, stops, label, xTitle) {
  const every = Math.ceil(stops.length / MOST_ROWS);
  const some = stops.filter((_, i) => (stops.length - 1 - i) % every === 0);
  const heads = [xTitle, ...drawn.map((each) => each.name)].map((name) => html("th", { scope: "col" }, name));
  const rows = some.map((x) => html("tr", {}, html("th", { scope: "row" }, count(x)),
    ...drawn.map((each) => valueCell(reading(each, x)))));
  return html("details", { class: "values" }, html("summary", {}, "The same as a table"),
    html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Values of the chart" },
      html("table", {}, html("caption", {}, label), html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...rows))));
}

function valueCell({ value, range }) {
  return html("td", {}, value, range && html("small", { class: "block whole" }, range));
}
