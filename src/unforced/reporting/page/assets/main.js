// Puts the parts together: the run that is chosen anywhere is chosen everywhere, among those that the filters leave.

const { kinds: KINDS, runs: RUNS, claims: CLAIMS } = JSON.parse(byId("data").textContent);
for (const kind of KINDS) kind.runs = RUNS.filter((run) => KINDS[run.kind] === kind);
for (const run of RUNS) run.kind = KINDS[run.kind];
for (const claim of CLAIMS) claim.kinds = claim.kinds.map((kind) => KINDS[kind]);
const STYLES = [...new Set(KINDS.map((kind) => kind.name))];

let shown = KINDS; // the kinds that the filters leave
let chosen = null;

/** Show a run everywhere; null: there is none. */
function choose(run) {
  chosen = run;
  table.mark(run);
  if (run) {
    byId("curve-run").value = RUNS.indexOf(run);
    byId("curve-place").value = run.kind.place;
  }
  redrawKinds();
  drawPositions(run);
  explore.open(run);
}

function redrawKinds() {
  drawKinds(shown, STYLES, byId("curve-place").value, byId("curve-measure").value);
}

/** The first run that has something to explore, best one that follows a wrong arm to its end. */
function firstOf(runs) {
  const traced = runs.filter((run) => run.traces);
  const goesAstray = (run) => run.traces.problems.some(([question]) => followsAnotherPath(question));
  return traced.find(goesAstray) ?? traced[0] ?? runs[0] ?? null;
}

/** Offer what the filters leave, everywhere, and move to a run that is among it. */
function narrow(kinds) {
  shown = kinds;
  const runs = kinds.flatMap((kind) => kind.runs);
  runChoices(byId("curve-run"), runs, RUNS, (run) => run.name);
  explore.offer(runs);
  choices(byId("curve-place"), places(kinds));
  for (const id of ["curve-place", "curve-measure"]) byId(id).disabled = runs.length === 0;
  byId("curves-nothing").hidden = runs.length > 0;
  showClaims(kinds, kinds.length === KINDS.length);
  choose(runs.includes(chosen) ? chosen : firstOf(runs));
}

function look(run) {
  choose(run);
  byId("explorer").scrollIntoView();
}

/** What a window folds is unfolded on paper. */
addEventListener("beforeprint", () => { if (CLAIMS.length) byId("claims-details").open = true; });

const explore = explorer(RUNS, choose);
const table = overview(KINDS, RUNS, narrow, look);
const showClaims = claimsTable(CLAIMS);
choices(byId("curve-measure"), measures(RUNS), "exact");
byId("curve-measure").addEventListener("change", redrawKinds);
byId("curve-place").addEventListener("change", redrawKinds);
byId("curve-run").addEventListener("change", () => choose(RUNS[byId("curve-run").value]));
table.begin();
