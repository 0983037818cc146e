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

/** Fill a <select> with [value, text] pairs. */
function choices(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => html("option", { value }, text)));
  if (chosen !== undefined) select.value = chosen;
}

/** Draw a part of the page afresh; whoever had the focus there keeps it (by its `data-key`). */
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
