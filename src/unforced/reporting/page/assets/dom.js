// Small helpers: building elements, and writing numbers.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key.startsWith("aria-")) node.setAttribute(key, value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Make an HTML element: attributes, `on...` listeners, and children (elements or text). */
function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Text without line breaks. */
function whole(text) {
  return html("span", { class: "whole" }, text);
}

/** Fill a <select> with [value, text] pairs. */
function choices(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => html("option", { value }, text)));
  if (chosen !== undefined) select.value = chosen;
}

/** A control and its label. */
function labelled(text, id, control) {
  control.id = id;
  return html("span", { class: "control" }, html("label", { for: id }, text), control);
}

/** Fill a <select> with runs, each under its group; a run's value is its index in `all`. */
function runChoices(select, runs, all, textOf) {
  const groups = [...new Set(runs.map((run) => run.group))];
  select.replaceChildren(...groups.map((group) => html("optgroup", { label: groupLabel(group) },
    ...runs.filter((run) => run.group === group)
      .map((run) => html("option", { value: all.indexOf(run) }, textOf(run))))));
  select.disabled = runs.length === 0;
}

function groupLabel(group) {
  return `${group.facet}, ${group.name}`;
}

/** Whether the window is wide enough for tables; in a narrower one long parts start folded. */
function isWide() {
  return matchMedia("(min-width: 44rem)").matches;
}

/** Say something to a screen reader. */
function say(text) {
  byId("said").textContent = text;
}

/** Redraw a part of the page and keep the focus in it (by `data-key`). */
function redraw(container, ...children) {
  const key = container.contains(document.activeElement) && document.activeElement.dataset.key;
  container.replaceChildren(...children.flat());
  if (key) container.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}%`;
}

function words(name) {
  return name.replaceAll("_", " ");
}

function count(number) {
  return number.toLocaleString("en-US");
}
