// The diagnoses: tables with a column for each diagnosed run, of which those are shown that match the filters.

const MOST_COLUMNS = 6; // above which one run of each configuration is shown at first
const SEEDS = { one: "one run of each configuration", every: "every run" };

/** Set the section up; return `show(groups, run)`: the groups that match the filters, and the run looked at. */
function diagnosed(runs) {
  const all = runs.filter((run) => run.column !== null);
  if (!all.length) return () => {};
  const [section, select] = [byId("diagnosis"), byId("diagnosis-seeds")];
  const cells = [...section.querySelectorAll("[data-column]")];
  const state = { groups: [], chosen: null };
  const show = (groups, chosen) => {
    Object.assign(state, { groups, chosen });
    const found = all.filter((run) => groups.includes(run.group));
    const columns = columnsOf(found, select.value, chosen);
    section.style.setProperty("--columns", columns.length);
    for (const cell of cells) {
      const column = +cell.dataset.column;
      cell.hidden = !columns.includes(column);
      cell.classList.toggle("chosen", column === chosen?.column);
    }
    hideEmptyRows(section);
    byId("diagnosis-count").textContent = found.length
      ? `${columns.length < found.length ? `${columns.length} of ` : ""}${found.length} diagnosed run${found.length === 1 ? "" : "s"}`
      : "No diagnosed run matches the filters.";
  };
  choices(select, Object.entries(SEEDS), all.length > MOST_COLUMNS ? "one" : "every");
  select.addEventListener("change", () => show(state.groups, state.chosen));
  byId("diagnosis-choice").hidden = new Set(all.map((run) => run.group)).size === all.length;
  for (const details of section.querySelectorAll("details")) details.open = isWide() && all.length <= FEW;
  return show;
}

/** The columns of runs: of all, or of one in each group, which is the chosen one if it is there. */
function columnsOf(runs, seeds, chosen) {
  const first = (group) => runs.filter((run) => run.group === group);
  const some = seeds === "every" ? runs : [...new Set(runs.map((run) => run.group))]
    .map((group) => first(group).find((run) => run === chosen) ?? first(group)[0]);
  return some.map((run) => run.column);
}

/** Hide rows, and sections, that say nothing of the columns shown. */
function hideEmptyRows(section) {
  for (const row of section.querySelectorAll(".side tbody tr")) {
    row.hidden = [...row.querySelectorAll("td")].every((cell) => cell.hidden || !cell.textContent.trim());
  }
  for (const part of section.querySelectorAll("details")) {
    part.hidden = [...part.querySelectorAll("tbody tr")].every((row) => row.hidden);
  }
}
