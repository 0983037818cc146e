// The table of runs: filters, sorting, and the run that is looked at.

const FILTERS = ["task", "model", "objective", "order"];
const COLUMNS = [
  { title: "run", value: (run) => run.name },
  { title: "task", value: (run) => run.task },
  { title: "model", value: (run) => run.model },
  { title: "objective", value: (run) => run.objective },
  { title: "order", value: (run) => run.order },
  { title: "seed", value: (run) => run.seed },
  { title: "held-out, free", value: (run) => run.free.value, show: freeCell },
  { title: "held-out, forced", value: (run) => lowest(run)?.value ?? -1, show: forcedCell },
  { title: "verdict", value: (run) => run.verdict?.title ?? "", show: verdictCell },
];

function freeCell(run) {
  const { value, low, high } = run.free;
  return [
    html("b", {}, percent(value)),
    html("small", {}, ` [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`),
    html("small", { class: "block" }, `chance ${percent(run.chance)}`),
  ];
}

/** The answer position that teacher forcing gets right least often. */
function lowest(run) {
  const known = run.forced_tokens.map((value, position) => ({ value, position })).filter((t) => t.value !== null);
  return known.length ? known.reduce((least, token) => (token.value < least.value ? token : least)) : null;
}

/** A bar per answer position; decisive ones stand out. */
function forcedCell(run) {
  const least = lowest(run);
  if (!least) return ["–"];
  const [width, gap, height] = [7, 2, 22];
  const bars = run.forced_tokens.map((value, i) => {
    const tall = Math.max(1, height * (value ?? 0));
    const of = run.decisive.includes(i) ? "bar decisive" : "bar";
    return svg("rect", { class: of, x: i * (width + gap), y: height - tall, width, height: tall });
  });
  const all = run.forced_tokens.map((value, i) => `token_${i} ${percent(value)}`).join(", ");
  const size = { width: bars.length * (width + gap), height };
  return [
    svg("svg", { ...size, role: "img", "aria-label": all, class: "bars" }, svg("title", {}, all), ...bars),
    html("small", { class: "block sign" }, `least token_${least.position} ${percent(least.value)}`),
    run.forced_note ? html("small", { class: "block", title: run.forced_note }, "not how it is trained") : null,
  ];
}

function verdictCell(run) {
  if (!run.verdict) return [html("small", {}, run.solved ? "✓ solved; not diagnosed" : "not diagnosed")];
  const mark = run.verdict.name === "solved" ? "✓ " : "";
  return [html("span", { title: run.verdict.because.join("; ") }, mark + run.verdict.title)];
}

/** Build the table; `onChange(runs)` hears which runs are shown, `onChoose(run)` which is to be looked at. */
function overview(runs, onChange, onChoose) {
  const chosen = Object.fromEntries(FILTERS.map((key) => [key, ""]));
  const rows = new Map(runs.map((run) => [run, row(run, onChoose)]));
  const body = byId("runs").tBodies[0];
  let shown = runs;

  function filter() {
    shown = runs.filter((run) => FILTERS.every((key) => !chosen[key] || run[key] === chosen[key]));
    for (const [run, line] of rows) line.hidden = !shown.includes(run);
    byId("run-count").textContent = `${shown.length} of ${runs.length} runs`;
    onChange(shown);
  }

  function sort(column, direction) {
    const sign = direction === "descending" ? -1 : 1;
    const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
    const sorted = [...runs].sort((a, b) => sign * order(column.value(a), column.value(b)));
    body.append(...sorted.map((run) => rows.get(run)));
  }

  body.append(...rows.values());
  byId("runs").tHead.append(heads(sort));
  byId("filters").append(...FILTERS.map((key) => filterOf(key, runs, chosen, filter)));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  filter();
  return (run) => {
    for (const [other, line] of rows) {
      line.classList.toggle("chosen", other === run);
      line.querySelector("button").setAttribute("aria-pressed", other === run);
    }
  };
}

/** A name that may be broken behind its slashes. */
function breakable(name) {
  return name.split(/(?<=\/)/).flatMap((part, i) => (i ? [html("wbr"), part] : [part]));
}

function row(run, onChoose) {
  const look = html("button", { type: "button", class: "link", onclick: () => onChoose(run) },
    ...breakable(run.name));
  const cells = COLUMNS.map((column, i) => {
    const content = i === 0 ? [look] : (column.show ?? ((each) => [String(column.value(each))]))(run);
    return html(i === 0 ? "th" : "td", { "data-label": column.title, scope: i === 0 && "row" },
      html("div", {}, ...content));
  });
  return html("tr", {}, ...cells);
}

function heads(sort) {
  const cells = COLUMNS.map((column) => {
    const cell = html("th", { scope: "col" });
    const press = () => {
      const direction = cell.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", direction);
      sort(column, direction);
    };
    cell.append(html("button", { type: "button", class: "sort", onclick: press }, column.title));
    return cell;
  });
  return html("tr", {}, ...cells);
}

function filterOf(key, runs, chosen, onChange) {
  const values = [...new Set(runs.map((run) => run[key]))].sort();
  const select = html("select", { name: key, onchange: () => { chosen[key] = select.value; onChange(); } });
  choices(select, [["", "all"], ...values.map((value) => [value, value])], "");
  return html("label", { class: "control" }, `${key} `, select);
}
