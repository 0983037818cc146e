// The overview: filters, the table of configurations (groups of runs that differ only in their seed), and that of runs.

const FILTERS = ["task", "model", "objective", "order", "data"];
const FEW = 12; // runs that need no folding where there is room

const GROUP_COLUMNS = [
  { title: "configuration", value: (group) => group.name },
  { title: "task, model", value: (group) => group.facet, show: (group) => [whole(group.facet)] },
  { title: "data", value: (group) => group.data, show: (group) => [whole(group.data)] },
  { title: "exact match, free-running", value: (group) => (group.creative ?? group.free).median, show: spreadCell },
  { title: "solved", value: (group) => (group.solved ?? -1) / group.runs.length, show: solvedCell },
  { title: "tokens, teacher-forced", value: (group) => lowest(group)?.value ?? -1, show: forcedCell },
  { title: "verdicts", value: (group) => group.verdicts[0]?.title ?? "", show: verdictsCell },
];
const RUN_COLUMNS = [
  { title: "run", value: (run) => run.name },
  { title: "configuration", value: (run) => run.group.name },
  { title: "task, model", value: (run) => run.group.facet, show: (run) => [whole(run.group.facet)] },
  { title: "seed", value: (run) => run.seed },
  { title: "exact match, free-running", value: (run) => (run.creative ?? run.free).value, show: freeCell },
  { title: "tokens, teacher-forced", value: (run) => lowest(run)?.value ?? -1, show: forcedCell },
  { title: "verdict", value: (run) => run.verdict?.title ?? "", show: verdictCell },
];

/**
 * The median over seeds, its range, and a dot for each seed on an axis with the line of chance; of open-ended tasks, of
 * creative answers.
 */
function spreadCell({ free, creative, chance, runs }) {
  const { median, low, high, values } = creative ?? free;
  const range = runs.length > 1 ? ` (${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})` : "";
  return [html("b", {}, percent(median)), html("small", {}, range), seedStrip(values, chance),
    html("small", { class: "block" }, comparedWith(chance, creative && free.median))];
}

/** What a share is compared with: chance, or the share of coherent answers where it is that of creative ones. */
function comparedWith(chance, coherent) {
  return coherent === null ? `chance ${percentOrUnknown(chance)}` : `creative; coherent ${percent(coherent)}`;
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

/** How many seeds were solved; below, how many failed, and the kernels if seeds ran on different ones. */
function solvedCell({ solved, runs, failures, kernels }) {
  return [solved === null ? html("small", { class: "whole" }, "open-ended") : whole(`${solved === runs.length ? "✓ " : ""}${solved} of ${runs.length}`),
    failures ? html("small", { class: "block" }, failures) : null,
    kernels ? html("small", { class: "block", title: "They round differently." }, `mixed kernels: ${kernels}`) : null];
}

/** A share in percent, or "unknown". */
function percentOrUnknown(share) {
  return share === null ? "unknown" : percent(share);
}

function freeCell({ free, creative, group }) {
  const { value, low, high } = creative ?? free;
  return [
    html("b", {}, percent(value)),
    html("small", {}, ` [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`),
    html("small", { class: "block" }, comparedWith(group.chance, creative && free.value)),
  ];
}

/** The answer position with the lowest teacher-forced accuracy. */
function lowest({ forced_tokens: tokens }) {
  const measured = tokens.map((value, position) => ({ value, position })).filter((token) => token.value !== null);
  return measured.length ? measured.reduce((least, token) => (token.value < least.value ? token : least)) : null;
}

/** A bar per answer position, of a run or of a group's median; positions that need lookahead stand out. */
function forcedCell(item) {
  const least = lowest(item);
  const { decisive, forced_note: note, unique_answer: unique } = item.group ?? item;
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
    html("small", { class: "block sign" }, `lowest: token_${least.position} ${percent(least.value)}`),
    note ? html("small", { class: "block", title: note }, "not the inputs of training") : null,
    unique ? null : html("small", { class: "block", title: "Agreement: problems have several right answers." }, "against one right answer"),
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
  const left = runs.length - verdicts.reduce((sum, verdict) => sum + verdict.count, 0);
  const lines = verdicts.map(({ name, title, count: n }) => `${name === "solved" ? "✓ " : ""}${title}: ${n}`);
  return [...lines, ...(left ? [`not diagnosed: ${left}`] : [])].map((line) => html("div", {}, line));
}

/**
 * Build the overview. `onChange(groups)` is called with the groups that match the filters, `onChoose(run)` with the run
 * to be looked at. Returns `begin()`, which tells `onChange` for the first time, and `mark(run)`.
 */
function overview(groups, runs, onChange, onChoose) {
  const [groupColumns, runColumns] = [GROUP_COLUMNS, RUN_COLUMNS].map((columns) => headed(columns, groups));
  const ofGroups = sortable(byId("groups"), byId("groups-sort"), groups, groupColumns, (group) => onChoose(firstOf(group.runs)));
  const ofRuns = sortable(byId("runs"), byId("runs-sort"), runs, runColumns, onChoose);
  byId("runs-details").open = runs.length <= FEW && isWide();
  const begin = filters(groups, (kept, words) => {
    const left = runs.filter((run) => kept.includes(run.group));
    ofGroups.only(kept);
    ofRuns.only(left);
    byId("runs-folded").textContent = words ? `${left.length} of ${runs.length} runs` : `${runs.length} runs`;
    byId("run-count").textContent = left.length ? counts(groups, kept, runs, left) + words : `No run matches${words}.`;
    onChange(kept);
  });
  const mark = (run) => {
    ofGroups.mark(run?.group);
    ofRuns.mark(run);
  };
  return { begin, mark };
}

/** Columns whose titles say that creative answers are counted where tasks are open-ended. */
function headed(columns, groups) {
  const open = groups.filter((group) => group.open_ended).length;
  const name = !open ? "exact match" : open < groups.length ? "exact or creative" : "creative answers";
  return columns.map((column) => ({ ...column, title: column.title.replace("exact match", name) }));
}

function counts(groups, kept, runs, left) {
  const of = (some, all, name) =>
    `${some.length < all.length ? `${some.length} of ` : ""}${all.length} ${name}${all.length === 1 ? "" : "s"}`;
  return `${of(left, runs, "run")}, ${of(kept, groups, "configuration")}`;
}

/** Build a filter for each key in which groups differ; return a function that calls `onChange(groups, words)`. */
function filters(groups, onChange) {
  const keys = filterKeys(groups);
  const chosen = Object.fromEntries(keys.map((key) => [key, ""]));
  const change = () => {
    const active = keys.filter((key) => chosen[key] !== "");
    byId("show-all").hidden = active.length === 0;
    const words = active.map((key) => `${key} ${chosen[key]}`).join(", ");
    onChange(groups.filter((group) => active.every((key) => group[key] === chosen[key])), words && `: ${words}`);
  };
  const selects = keys.map((key) => filterSelect(key, groups, (value) => { chosen[key] = value; change(); }));
  byId("filters").append(...selects.map((select) => labelled(select.name, `filter-${select.name}`, select)));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("show-all").addEventListener("click", () => {
    for (const select of selects) chosen[select.name] = select.value = "";
    change();
    selects[0].focus(); // the button is gone
  });
  return change;
}

/** The keys in which groups differ; "settings" too, if the others do not distinguish all groups. */
function filterKeys(groups) {
  const varied = FILTERS.filter((key) => new Set(groups.map((group) => group[key])).size > 1);
  const combinations = new Set(groups.map((group) => JSON.stringify(varied.map((key) => group[key]))));
  return combinations.size === groups.length ? varied : [...varied, "settings"];
}

function filterSelect(key, groups, onChange) {
  const values = [...new Set(groups.map((group) => group[key]))].filter(Boolean).sort();
  const select = html("select", { name: key, onchange: () => onChange(select.value) });
  choices(select, [["", "all"], ...values.map((value) => [value, value])], "");
  return select;
}
