// A table of items with a row each. The heads of its columns sort it; so does a <select>, where the window is
// too narrow for heads. A column is {title, value(item)} and, unless text will do, {show(item)}; the first one
// is a button that chooses the item.

/** Fill a table; return `only(items)`, which leaves just these rows, and `mark(item)`, the one looked at. */
function sortable(table, sorter, items, columns, onChoose) {
  const rows = new Map(items.map((item) => [item, tableRow(item, columns, onChoose)]));
  const sort = (column, direction) => {
    const sorted = column ? [...items].sort(compare(column, direction)) : items;
    table.tBodies[0].append(...sorted.map((item) => rows.get(item)));
    heads.forEach((head, i) => markHead(head, columns[i] === column ? direction : null));
    select.value = column ? `${columns.indexOf(column)} ${direction}` : "";
  };
  const heads = columns.map((column) => tableHead(column, sort));
  const select = sortSelect(columns, sort);
  table.tHead.append(html("tr", {}, ...heads));
  table.tBodies[0].append(...rows.values());
  sorter.append(labelled("Sort by", `${table.id}-order`, select));
  return {
    only: (kept) => { for (const [item, row] of rows) row.hidden = !kept.includes(item); },
    mark: (chosen) => { for (const [item, row] of rows) markRow(row, item === chosen); },
  };
}

function compare({ value }, direction) {
  const sign = direction === "descending" ? -1 : 1;
  const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  return (one, other) => sign * order(value(one), value(other));
}

function tableHead(column, sort) {
  const head = html("th", { scope: "col" });
  const press = () => sort(column, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
  head.append(html("button", { type: "button", class: "sort", onclick: press }, column.title));
  return head;
}

function markHead(head, direction) {
  if (direction) head.setAttribute("aria-sort", direction);
  else head.removeAttribute("aria-sort");
}

function sortSelect(columns, sort) {
  const select = html("select", { onchange: () => {
    const [column, direction] = select.value.split(" ");
    sort(direction && columns[column], direction);
  } });
  const ways = columns.flatMap(({ title }, i) => [
    [`${i} ascending`, `${title} ↑`], [`${i} descending`, `${title} ↓`]]);
  choices(select, [["", "as it comes"], ...ways], "");
  return select;
}

function tableRow(item, columns, onChoose) {
  const [first, ...others] = columns;
  const look = html("button", { type: "button", class: "link", onclick: () => onChoose(item) },
    ...breakable(first.value(item)));
  return html("tr", {}, html("th", { scope: "row" }, look),
    ...others.map((column) => tableCell(column.title, cellOf(column, item))));
}

function cellOf(column, item) {
  return column.show ? column.show(item) : [String(column.value(item))];
}

/** A cell that says its column's title where there is no head above it. */
function tableCell(title, content) {
  return html("td", { "data-label": title }, html("div", {}, ...content));
}

function markRow(row, chosen) {
  row.classList.toggle("chosen", chosen);
  row.querySelector("button").setAttribute("aria-pressed", chosen);
}

/** A name that may be broken behind its slashes. */
function breakable(name) {
  return name.split(/(?<=\/)/).flatMap((part, i) => (i ? [html("wbr"), part] : [part]));
}
