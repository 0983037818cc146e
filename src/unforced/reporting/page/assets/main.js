// Puts the parts together: the run that is chosen anywhere is chosen everywhere.

const RUNS = JSON.parse(byId("data").textContent);
let shown = RUNS;

function choose(run) {
  markRow(run);
  byId("curve-run").value = RUNS.indexOf(run);
  drawPositions(run);
  explore(run);
}

/** The first run that has something to explore, best one that follows a wrong arm to its end. */
function firstRun() {
  const traced = RUNS.filter((run) => run.traces);
  const goesAstray = (run) => run.traces.problems.some(([question]) => followsAnotherPath(question));
  return traced.find(goesAstray) ?? traced[0] ?? RUNS[0];
}

const explore = explorer(RUNS, choose);
choices(byId("curve-measure"), measures(RUNS), "exact");
choices(byId("curve-run"), RUNS.map((run, i) => [i, run.name]));
byId("curve-measure").addEventListener("change", () => drawRuns(shown, byId("curve-measure").value));
byId("curve-run").addEventListener("change", () => choose(RUNS[byId("curve-run").value]));
const markRow = overview(
  RUNS,
  (runs) => {
    shown = runs;
    drawRuns(runs, byId("curve-measure").value);
  },
  (run) => {
    choose(run);
    byId("explorer").scrollIntoView();
  },
);
choose(firstRun());
