// The overview: filters, the table of kinds of runs, and that of the runs themselves.

const FILTERS = ["task", "model", "objective", "order", "data"];
const FEW = 12; // runs that need no folding where there is room

const KIND_COLUMNS = [
  { title: "kind", value: (kind) => kind.name },
  { title: "on", value: (kind) => kind.place, show: (kind) => [whole(kind.place)] },
  { title: "data", value: (kind) => kind.data, show: (kind) => [whole(kind.data)] },
  { title: "held-out, free", value: (kind) => kind.free.median, show: spreadCell },
  { title: "solved", value: (kind) => kind.solved / kind.runs.length, show: solvedCell },
  { title: "held-out, forced", value: (kind) => lowest(kind)?.value ?? -1, show: forcedCell },
  { title: "verdicts", value: (kind) => kind.verdicts[0]?.title ?? "", show: verdictsCell },
];
const RUN_COLUMNS = [
  { title: "run", value: (run) => run.name },
  { title: "kind", value: (run) => run.kind.name },
  { title: "on", value: (run) => run.kind.place, show: (run) => [whole(run.kind.place)] },
  { title: "seed", value: (run) => run.seed },
  { title: "held-out, free", value: (run) => run.free.value, show: freeCell },
  { title: "held-out, forced", value: (run) => lowest(run)?.value ?? -1, show: forcedCell },
  { title: "verdict", value: (run) => run.verdict?.title ?? "", show: verdictCell },
];

/** The median over seeds, its range, and a dot for each seed beside the line of chance. */
function spreadCell({ free, chance, runs }) {
  const range = runs.length > 1 ? ` (${(100 * free.low).toFixed(1)} to ${(100 * free.high).toFixed(1)})` : "";
  return [html("b", {}, percent(free.median)), html("small", {}, range), seedStrip(free.values, chance),
    html("small", { class: "block" }, `chance ${known(chance)}`)];
}

function seedStrip(values, chance) {
  const [width, height, border] = [120, 14, 5];
  const x = (share) => border + share * (width - 2 * border);
  const all = `seeds ${values.map((value) => percent(value)).join(", ")}`;
  return svg("svg", { class: "strip", width, height, role: "img", "aria-label": all }, svg("title", {}, all),
    svg("line", { class: "grid", x1: x(0), x2: x(1), y1: height / 2, y2: height / 2 }),
    chance === null ? null : svg("line", { class: "at-chance", x1: x(chance), x2: x(chance), y1: 0, y2: height }),
    ...values.map((value) => svg("circle", { cx: x(value), cy: height / 2, r: 4 })));
}

/** How many seeds were solved; what failed, and where seeds ran on kernels that round differently, below. */
function solvedCell({ solved, runs, failures, kernels }) {
  return [whole(`${solved === runs.length ? "✓ " : ""}${solved} of ${runs.length}`),
    failures ? html("small", { class: "block" }, failures) : null,
    kernels ? html("small", { class: "block", title: "They round differently." }, `mixed kernels: ${kernels}`) : null];
}

/** A share in percent, or that it is not known. */
function known(share) {
  return share === null ? "unknown" : percent(share);
}

function freeCell({ free: { value, low, high }, kind }) {
  return [
    html("b", {}, percent(value)),
    html("small", {}, ` [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`),
    html("small", { class: "block" }, `chance ${known(kind.chance)}`),
  ];
}

/** The answer position that teacher forcing gets right least often. */
function lowest({ forced_tokens: tokens }) {
  const known = tokens.map((value, position) => ({ value, position })).filter((t) => t.value !== null);
  return known.length ? known.reduce((least, token) => (token.value < least.value ? token : least)) : null;
}

/** A bar per answer position of a run, or of a kind's median; decisive ones stand out. */
function forcedCell(item) {
  const least = lowest(item);
  const { decisive, forced_note: note } = item.kind ?? item;
  if (!least) return ["–"];
  const [width, gap, height] = [7, 2, 22];
  const bars = item.forced_tokens.map((value, i) => {
    const tall = Math.max(1, height * (value ?? 0));
    const of = decisive.includes(i) ? "bar decisive" : "bar";
    return svg("rect", { class: of, x: i * (width + gap), y: height - tall, width, height: tall });
  });
  const all = item.forced_tokens.map((value, i) => `token_${i} ${percent(value)}`).join(", ");
  const size = { width: bars.length * (width + gap), height };
  return [
    svg("svg", { ...size, role: "img", "aria-label": all, class: "bars" }, svg("title", {}, all), ...bars),
    html("small", { class: "block sign" }, `least token_${least.position} ${percent(least.value)}`),
    note ? html("small", { class: "block", title: note }, "not how it is trained") : null,
  ];
}

function verdictCell(run) {
  if (run.failure) return [run.failure];
  if (!run.verdict) return [html("small", {}, run.solved ? "✓ solved; not diagnosed" : "not diagnosed")];
  const mark = run.verdict.name === "solved" ? "✓ " : "";
  return [html("span", { title: run.verdict.because.join("; ") }, mark + run.verdict.title)];
}

function verdictsCell({ verdicts, runs }) {
  if (!verdicts.length) return [html("small", {}, "not diagnosed")];
  const left = runs.length - verdicts.reduce((sum, each) => sum + each.count, 0);
  const lines = verdicts.map(({ name, title, count: n }) => `${name === "solved" ? "✓ " : ""}${title}: ${n}`);
  return [...lines, ...(left ? [`not diagnosed: ${left}`] : [])].map((line) => html("div", {}, line));
}

/**
 * Build the overview. `onChange(kinds)` hears which kinds are left by the filters, `onChoose(run)` which run is
 * to be looked at. Returns `begin()`, which tells `onChange` for the first time, and `mark(run)`.
 */
function overview(kinds, runs, onChange, onChoose) {
  const ofKinds = sortable(byId("kinds"), byId("kinds-sort"), kinds, KIND_COLUMNS, (kind) => onChoose(firstOf(kind.runs)));
  const ofRuns = sortable(byId("runs"), byId("runs-sort"), runs, RUN_COLUMNS, onChoose);
  byId("runs-details").open = runs.length <= FEW && isWide();
  const begin = filters(kinds, (kept, words) => {
    const left = runs.filter((run) => kept.includes(run.kind));
    ofKinds.only(kept);
    ofRuns.only(left);
    byId("runs-folded").textContent = words ? `${left.length} of ${runs.length} runs` : `${runs.length} runs`;
    byId("run-count").textContent = left.length ? counts(kinds, kept, runs, left) + words : `No run matches${words}.`;
    onChange(kept);
  });
  const mark = (run) => {
    ofKinds.mark(run?.kind);
    ofRuns.mark(run);
  };
  return { begin, mark };
}

function counts(kinds, kept, runs, left) {
  const of = (some, all, name) =>
    `${some.length < all.length ? `${some.length} of ` : ""}${all.length} ${name}${all.length === 1 ? "" : "s"}`;
  return `${of(left, runs, "run")}, ${of(kept, kinds, "kind")}`;
}

/** Build a filter for each key in which kinds differ; what is returned tells `onChange` what matches, and in words. */
function filters(kinds, onChange) {
  const keys = filterKeys(kinds);
  const chosen = Object.fromEntries(keys.map((key) => [key, ""]));
  const change = () => {
    const active = keys.filter((key) => chosen[key] !== "");
    byId("show-all").hidden = active.length === 0;
    const words = active.map((key) => `${key} ${chosen[key]}`).join(", ");
    onChange(kinds.filter((kind) => active.every((key) => kind[key] === chosen[key])), words && `: ${words}`);
  };
  const selects = keys.map((key) => filterSelect(key, kinds, (value) => { chosen[key] = value; change(); }));
  byId("filters").append(...selects.map((select) => labelled(select.name, `filter-${select.name}`, select)));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("show-all").addEventListener("click", () => {
    for (const select of selects) chosen[select.name] = select.value = "";
    change();
    selects[0].focus(); // the button is gone
  });
  return change;
}

/** The keys in which kinds differ; all other settings as well, where these do not tell every kind from others. */
function filterKeys(kinds) {
  const varied = FILTERS.filter((key) => new Set(kinds.map((kind) => kind[key])).size > 1);
  const told = new Set(kinds.map((kind) => JSON.stringify(varied.map((key) => kind[key]))));
  return told.size === kinds.length ? varied : [...varied, "settings"];
}

function filterSelect(key, kinds, onChange) {
  const values = [...new Set(kinds.map((kind) => kind[key]))].filter(Boolean).sort();
  const select = html("select", { name: key, onchange: () => onChange(select.value) });
  choices(select, [["", "all"], ...values.map((value) => [value, value])], "");
  return select;
}
