// A graph problem as SVG: start on the left, a step to the right for each edge; the true path as a broad
// band, the model's path as a line on top of it, dashed if there is no such edge.

const ENLARGED = 1.3; // where there is room
const RADIUS = 15;
const STEP = { x: 84, y: 52 };
const BORDER = { x: 34, y: 34 };

function isGraph(question) {
  return Boolean(question.drawing.edges?.length);
}

/** Whether a free-running answer is wrong, and yet a path along edges that leads somewhere else. */
function followsAnotherPath(question) {
  return question.verdict !== "correct" && isGraph(question)
    && question.free[0] === question.drawing.start
    && pairs(question.free).every(([from, to]) => hasEdge(question.drawing, from, to));
}

function pairs(path) {
  return path.slice(1).map((node, i) => [path[i], node]);
}

function hasEdge(drawing, from, to) {
  return drawing.edges.some(([a, b]) => a === from && b === to);
}

/** Give each node a column (its distance from the start) and a row; leaves take rows of their own. */
function layOut({ edges, start }) {
  const children = new Map();
  for (const [from, to] of edges) children.set(from, [...(children.get(from) ?? []), to]);
  const places = new Map();
  let rows = 0;
  function visit(node, depth) {
    places.set(node, { depth, row: 0 });
    const below = (children.get(node) ?? []).filter((child) => !places.has(child));
    const visited = below.filter((child) => !places.has(child) && visit(child, depth + 1));
    const under = visited.map((child) => places.get(child).row);
    places.get(node).row = under.length ? (under[0] + under.at(-1)) / 2 : rows++;
    return true;
  }
  visit(start, 0);
  for (const node of edges.flat()) if (!places.has(node)) visit(node, 0);
  const depths = Math.max(...[...places.values()].map((place) => place.depth));
  return { places, width: 2 * BORDER.x + depths * STEP.x, height: 2 * BORDER.y + (rows - 1) * STEP.y };
}

/**
 * Draw a question. `answer` are the symbols of the free-running answer so far (null where not yet),
 * `at` the position that is being predicted, `chances` the [symbol, probability] pairs of that prediction.
 */
function drawGraph(question, answer, at, chances) {
  const { places, width, height } = layOut(question.drawing);
  const point = (node) => ({
    x: BORDER.x + places.get(node).depth * STEP.x, y: BORDER.y + places.get(node).row * STEP.y,
  });
  const edges = question.drawing.edges.map(([from, to]) => line(point(from), point(to), "edge"));
  const truth = pairs(question.true).filter((pair) => hasEdge(question.drawing, ...pair))
    .map(([from, to]) => line(point(from), point(to), "truth"));
  const steps = pairs(answer).map(([from, to], i) => answerStep(question, i, from, to, places, point));
  const likely = new Map(chances);
  const nodes = [...places.keys()].map((node) => drawNode(question, node, point(node), answer, at, likely.get(node)));
  return svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width: ENLARGED * width, height: ENLARGED * height, class: "graph", role: "img",
    "aria-label": inWords(question, answer),
  }, ...truth, ...edges, ...steps, ...nodes);
}

function line(from, to, name) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const [ux, uy] = [(dx / length) * (RADIUS + 2), (dy / length) * (RADIUS + 2)];
  return svg("line", { class: name, x1: from.x + ux, y1: from.y + uy, x2: to.x - ux, y2: to.y - uy });
}

/** A step of the model's answer: on the true path, off it, or without an edge. */
function answerStep(question, i, from, to, places, point) {
  if (from === null || to === null || !places.has(from) || !places.has(to)) return null;
  const right = isRight(question, from, i) && isRight(question, to, i + 1);
  if (hasEdge(question.drawing, from, to)) return line(point(from), point(to), right ? "own right" : "own wrong");
  const [a, b] = [point(from), point(to)];
  if (from === to) {
    const [left, top] = [a.x - 9, a.y - RADIUS];
    return svg("path", { class: "own jump", d: `M${left},${top} c-8,-20 26,-20 18,0` });
  }
  const bend = { x: (a.x + b.x) / 2 + (b.y - a.y) / 5, y: (a.y + b.y) / 2 - (b.x - a.x) / 5 - 12 };
  return svg("path", { class: "own jump", d: `M${a.x},${a.y} Q${bend.x},${bend.y} ${b.x},${b.y}` });
}

function drawNode(question, node, { x, y }, answer, at, chance) {
  const { start, goal } = question.drawing;
  const right = answer.some((symbol, i) => symbol === node && isRight(question, symbol, i));
  const wrong = answer.some((symbol, i) => symbol === node && !isRight(question, symbol, i));
  const classes = ["node", wrong ? "wrong" : right ? "right" : "", answer[at] === node ? "now" : ""];
  const shape = node === start
    ? svg("rect", { x: x - RADIUS, y: y - RADIUS, width: 2 * RADIUS, height: 2 * RADIUS, rx: 4 })
    : svg("circle", { cx: x, cy: y, r: RADIUS });
  const role = node === start ? "start" : node === goal ? "goal" : null;
  return svg("g", { class: classes.filter(Boolean).join(" ") },
    node === goal ? svg("circle", { class: "goal-ring", cx: x, cy: y, r: RADIUS + 5 }) : null,
    shape,
    svg("text", { x, y: y + 5, "text-anchor": "middle" }, node),
    role && svg("text", { class: "role", x, y: y - RADIUS - 9, "text-anchor": "middle" }, role),
    chance >= 0.005 ? svg("text", { class: "chance", x, y: y + RADIUS + 15, "text-anchor": "middle" },
      percent(chance, 0)) : null);
}

function inWords(question, answer) {
  const { start, goal } = question.drawing;
  const written = answer.filter((symbol) => symbol !== null).join(" ");
  return `A graph from start ${start} to goal ${goal}; ${question.unique ? "true" : "one right"} path ${question.true.join(" ")}; `
    + `the model’s answer so far: ${written || "nothing"}`;
}
