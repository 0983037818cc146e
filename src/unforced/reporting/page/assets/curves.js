// The two charts: the groups of one task and model by one measure, and one run by answer position.

const X_TITLE = "problems trained on";

function measures(runs) {
  const longest = Math.max(...runs.map((run) => run.forced_tokens.length));
  const tokens = Array.from({ length: longest }, (_, i) => [`token_${i}`, `token_${i}`]);
  const open = runs.filter((run) => run.group.open_ended).length;
  const whole = !open ? "exact match" : open < runs.length ? "exact match or coherent" : "coherent answers";
  const creative = open ? [["creative", "creative answers"]] : [];
  return [["exact", whole], ...creative, ...tokens, ["train", `${whole}, training problems`]];
}

function facets(groups) {
  return [...new Set(groups.map((group) => group.facet))].map((facet) => [facet, facet]);
}

function chanceLevel({ chance }) {
  return chance !== null && chance < 1 ? { y: chance, name: "chance" } : null;
}

/** Draw the groups of one facet; each keeps the style that it has among all groups. */
function drawGroups(groups, styles, facet, measure) {
  const drawn = groups.filter((group) => group.facet === facet && group.curves[measure]);
  const isWhole = measure === "exact" || measure === "train";
  chart(byId("chart-groups"), {
    series: drawn.map((group) => ({ ...curveOf(group, measure), style: styles.indexOf(group.name) })),
    level: isWhole && haveOneChance(drawn) ? chanceLevel(drawn[0]) : null,
    label: `learning curves on ${facet}, ${measure === "exact" ? "exact match" : words(measure)}, `
      + "median over seeds and each seed",
    xTitle: X_TITLE,
  });
}

function haveOneChance(groups) {
  return new Set(groups.map((group) => group.chance)).size === 1;
}

/** A group's median curve, with a member per seed where there are several. */
function curveOf({ name, runs, curves }, measure) {
  const { median: y, low, high, seeds } = curves[measure];
  const members = runs.length > 1 ? runs.filter((run) => run.curves[measure])
    .map((run) => ({ name: `seed ${run.seed}`, x: run.curves.samples, y: run.curves[measure] })) : [];
  return { name, x: curves.samples, y, low, high, seeds, members };
}

function drawPositions(run) {
  const names = run ? [
    ["exact", run.group.open_ended ? "coherent" : "exact match"],
    ...(run.group.open_ended ? [["creative", "creative"]] : []),
    ...run.forced_tokens.map((_, i) =>
      [`token_${i}`, `token_${i}${run.group.decisive.includes(i) ? " ◆ needs lookahead" : ""}`]),
    ["train", `${run.group.open_ended ? "coherent" : "exact match"}, training`],
  ] : [];
  chart(byId("chart-positions"), {
    series: names.map(([measure, name]) => ({ name, x: run.curves.samples, y: run.curves[measure] })),
    level: run && chanceLevel(run.group),
    label: run && `learning curves of ${run.name} by answer position`,
    xTitle: X_TITLE,
  });
}

/** Draw again when colours change: for another colour scheme, or for paper. */
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(query).addEventListener("change", () => {
    for (const id of ["chart-groups", "chart-positions"]) byId(id).plot?.redraw(false, true);
  });
}
