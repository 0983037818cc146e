// What studies expect and what was measured. The table is folded in a narrow window, and printed in full.

const MARKS = { met: ["good", "✓ met"], missed: ["bad", "✗ missed"] };
const CLAIM_COLUMNS = [
  ["measure", (claim) => [claim.measure]],
  ["claim", (claim) => [claim.source]],
  ["expected", (claim) => [whole(claim.expected)]],
  ["measured", ({ measured, total }) => [whole(measuredWords(measured, total))]],
  ["holds in", ({ holds, total }) => [whole(`${holds} of ${total}`)]],
  ["verdict", ({ verdict }) => [verdictMark(verdict)]],
];

function measuredWords({ median, low, high }, total) {
  const [middle, least, most] = [median, low, high].map((share) => (100 * share).toFixed(1));
  if (total === 0) return "–";
  return total === 1 ? `${middle} (one seed)` : `${middle} (${least} to ${most})`;
}

function verdictMark(verdict) {
  const [name, text] = MARKS[verdict] ?? ["", verdict];
  return html("b", { class: `sign ${name}` }, text);
}

function claimRow(claim, several) {
  const who = several ? [html("small", { class: "block" }, claim.study), claim.runs] : [claim.runs];
  return html("tr", { class: claim.verdict === "missed" ? "missed" : "" }, html("th", { scope: "row" }, ...who),
    ...CLAIM_COLUMNS.map(([title, content]) => tableCell(title, content(claim))));
}

/** Fill the table; return a function that shows only the claims about some groups. */
function claimsTable(claims) {
  if (!claims.length) return () => {};
  const several = new Set(claims.map((claim) => claim.study)).size > 1;
  const rows = new Map(claims.map((claim) => [claim, claimRow(claim, several)]));
  const [table] = byId("claims").getElementsByTagName("table");
  const heads = ["runs", ...CLAIM_COLUMNS.map(([title]) => title)];
  table.tHead.append(html("tr", {}, ...heads.map((title) => html("th", { scope: "col" }, title))));
  table.tBodies[0].append(...rows.values());
  byId("claims-details").open = isWide();
  return (groups, all) => {
    const left = claims.filter((claim) => all || claim.groups.some((group) => groups.includes(group)));
    for (const [claim, row] of rows) row.hidden = !left.includes(claim);
    byId("claims-count").textContent = tally(left);
  };
}

function tally(claims) {
  if (!claims.length) return "No expectation speaks of the runs that match the filters";
  const number = (verdict) => claims.filter((claim) => claim.verdict === verdict).length;
  return `${number("met")} of ${claims.length} as expected ✓, ${number("missed")} missed ✗, `
    + `${number("mixed")} mixed, ${number("not enough seeds")} without enough seeds`;
}
