// Connects the parts: a run chosen in one of them is shown in all, and the filters apply to all.

const { groups: GROUPS, runs: RUNS, claims: CLAIMS } = JSON.parse(byId("data").textContent);
for (const group of GROUPS) group.runs = RUNS.filter((run) => GROUPS[run.group] === group);
for (const run of RUNS) run.group = GROUPS[run.group];
for (const { group, traces } of RUNS) {
  for (const question of traces?.problems.flat() ?? []) Object.assign(question, { unique: group.unique_answer, open: group.open_ended });
}
for (const claim of CLAIMS) claim.groups = claim.groups.map((group) => GROUPS[group]);
const STYLES = [...new Set(GROUPS.map((group) => group.name))];

let shown = GROUPS; // those that match the filters
let chosen = null;

/** Show a run everywhere; null: none matches the filters. */
function choose(run) {
  chosen = run;
  table.mark(run);
  if (run) {
    byId("curve-run").value = RUNS.indexOf(run);
    byId("curve-facet").value = run.group.facet;
  }
  redrawGroups();
  drawPositions(run);
  explore.open(run);
  showDiagnoses(shown, run);
}

function redrawGroups() {
  drawGroups(shown, STYLES, byId("curve-facet").value, byId("curve-measure").value);
}

/** The first run with traces, preferably one that follows a wrong arm to its end. */
function firstOf(runs) {
  const traced = runs.filter((run) => run.traces);
  const goesAstray = (run) => run.traces.problems.some(([question]) => followsAnotherPath(question));
  return traced.find(goesAstray) ?? traced[0] ?? runs[0] ?? null;
}

/** Offer the groups that match the filters, everywhere, and show a run of theirs. */
function narrow(groups) {
  shown = groups;
  const runs = groups.flatMap((group) => group.runs);
  runChoices(byId("curve-run"), runs, RUNS, (run) => run.name);
  explore.offer(runs);
  choices(byId("curve-facet"), facets(groups));
  for (const id of ["curve-facet", "curve-measure"]) byId(id).disabled = runs.length === 0;
  byId("curves-nothing").hidden = runs.length > 0;
  showClaims(groups, groups.length === GROUPS.length);
  choose(runs.includes(chosen) ? chosen : firstOf(runs));
}

function look(run) {
  choose(run);
  byId("explorer").scrollIntoView();
}

/** Unfold for printing. */
addEventListener("beforeprint", () => {
  if (CLAIMS.length) byId("claims-details").open = true;
  for (const details of document.querySelectorAll("#diagnosis details")) details.open = true;
});

const explore = explorer(RUNS, choose);
const table = overview(GROUPS, RUNS, narrow, look);
const showDiagnoses = diagnosed(RUNS);
const showClaims = claimsTable(CLAIMS);
choices(byId("curve-measure"), measures(RUNS), GROUPS.every((group) => group.open_ended) ? "creative" : "exact");
byId("curve-measure").addEventListener("change", redrawGroups);
byId("curve-facet").addEventListener("change", redrawGroups);
byId("curve-run").addEventListener("change", () => choose(RUNS[byId("curve-run").value]));
table.begin();
