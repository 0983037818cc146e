// The two charts: the runs of the overview by one measure, and one run by answer position.

const X_TITLE = "problems trained on";

function measures(runs) {
  const longest = Math.max(...runs.map((run) => run.forced_tokens.length));
  const tokens = Array.from({ length: longest }, (_, i) => [`token_${i}`, `token_${i}`]);
  return [["exact", "whole answer"], ...tokens, ["train", "whole answer, training problems"]];
}

function sameChance(runs) {
  const [first] = runs;
  return first && runs.every((run) => run.kind.chance === first.kind.chance) && first.kind.chance < 1
    ? { y: first.kind.chance, name: "chance" } : null;
}

function drawRuns(runs, measure) {
  const having = runs.filter((run) => run.curves[measure]);
  const whole = measure === "exact" || measure === "train";
  chart(byId("chart-runs"), {
    series: having.map((run) => ({ name: run.name, x: run.curves.samples, y: run.curves[measure] })),
    level: whole ? sameChance(having) : null,
    label: `Learning curves of ${having.length} runs, ${words(measure)}`,
    xTitle: X_TITLE,
  });
}

function drawPositions(run) {
  const names = run ? [
    ["exact", "whole answer"],
    ...run.forced_tokens.map((_, i) => [`token_${i}`, `token_${i}${run.kind.decisive.includes(i) ? " ◆ decisive" : ""}`]),
    ["train", "whole answer, training"],
  ] : [];
  chart(byId("chart-positions"), {
    series: names.map(([measure, name]) => ({ name, x: run.curves.samples, y: run.curves[measure] })),
    level: sameChance(run ? [run] : []),
    label: `Learning curves of ${run?.name} by answer position`,
    xTitle: X_TITLE,
  });
}
