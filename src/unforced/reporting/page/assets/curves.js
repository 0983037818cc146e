// The two charts: kinds of runs on one task and model by one measure, and one run by answer position.

const X_TITLE = "problems trained on";

function measures(runs) {
  const longest = Math.max(...runs.map((run) => run.forced_tokens.length));
  const tokens = Array.from({ length: longest }, (_, i) => [`token_${i}`, `token_${i}`]);
  return [["exact", "whole answer"], ...tokens, ["train", "whole answer, training problems"]];
}

function places(kinds) {
  return [...new Set(kinds.map((kind) => kind.place))].map((place) => [place, place]);
}

function chanceLevel({ chance }) {
  return chance !== null && chance < 1 ? { y: chance, name: "chance" } : null;
}

/** Draw the kinds on one place; each keeps the style that it has among all kinds. */
function drawKinds(kinds, styles, place, measure) {
  const here = kinds.filter((kind) => kind.place === place);
  const having = here.filter((kind) => kind.runs.some((run) => run.curves[measure]));
  const whole = measure === "exact" || measure === "train";
  chart(byId("chart-kinds"), {
    series: having.map((kind) => ({ ...curveOf(kind, measure), style: styles.indexOf(kind.name) })),
    level: whole && sameChance(having) ? chanceLevel(having[0]) : null,
    label: `learning curves on ${place}, ${measure === "exact" ? "whole answer" : words(measure)}, `
      + "median over seeds and each seed",
    xTitle: X_TITLE,
  });
}

function sameChance(kinds) {
  return kinds.length > 0 && kinds.every((kind) => kind.chance === kinds[0].chance);
}

/** A kind's median curve with a member per seed; a run that has ended stays as it ended. */
function curveOf(kind, measure) {
  const members = kind.runs.filter((run) => run.curves[measure])
    .map((run) => ({ name: `seed ${run.seed}`, x: run.curves.samples, y: run.curves[measure] }));
  if (members.length === 1) return { name: kind.name, x: members[0].x, y: members[0].y };
  const x = [...new Set(members.flatMap((member) => member.x))].sort((a, b) => a - b);
  const y = x.map((at) => median(members.map((member) => valueAt(member, at)).filter((value) => value !== null)));
  return { name: kind.name, x, y, members };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length ? (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2 : null;
}

function drawPositions(run) {
  const names = run ? [
    ["exact", "whole answer"],
    ...run.forced_tokens.map((_, i) =>
      [`token_${i}`, `token_${i}${run.kind.decisive.includes(i) ? " ◆ decisive" : ""}`]),
    ["train", "whole answer, training"],
  ] : [];
  chart(byId("chart-positions"), {
    series: names.map(([measure, name]) => ({ name, x: run.curves.samples, y: run.curves[measure] })),
    level: run && chanceLevel(run.kind),
    label: run && `learning curves of ${run.name} by answer position`,
    xTitle: X_TITLE,
  });
}
