// A line chart, drawn by uPlot. A series is one curve, or a median (thick) among its members (thin). A cursor
// follows the pointer or the arrow keys; the series picked out stands out, and a note at the cursor describes it.

const COLOURS = 7; // --series-0 .. --series-6 in the style sheet
const DASHES = [[], [9, 4], [2, 3.5], [11, 3, 2, 3]];
const FONT = '12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const WHOLE_STEPS = Array.from({ length: 13 }, (_, i) => [1, 2, 5].map((factor) => factor * 10 ** i)).flat();

/**
 * Draw into a <figure>: `series` of {name, x, y, style, members} (y in 0..1, null where unknown; members: {name,
 * x, y}; low, high, seeds: the range of the members at x; style: a number for colour and dash), and a `level`
 * {y, name} drawn across. `label` says what is drawn. The plot is the figure's property `plot`.
 */
function chart(figure, { series, level, label, xTitle }) {
  figure.plot?.destroy();
  figure.observer?.disconnect();
  figure.plot = null;
  figure.replaceChildren();
  const drawn = series.map((one, i) => ({ ...one, ...styleOf(one.style ?? i), members: one.members ?? [] }))
    .filter((one) => one.x.length);
  if (!drawn.length) return;
  const lines = drawn.flatMap((one, i) => [
    ...one.members.map((member, j) => ({ ...one, ...member, series: i, member: j })),
    { ...one, series: i, member: null },
  ]);
  const canvas = html("div", { class: "canvas", tabindex: 0, role: "application", "aria-label": `Chart: ${label}` });
  const note = html("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const when = html("p", { class: "at" });
  const legend = html("div", { class: "legend" }, when, keys(drawn, pick));
  figure.append(canvas, legend);
  const plot = new uPlot({
    ...sizeOf(canvas), ...plotOptions(lines, xTitle),
    hooks: { setCursor: [follow], draw: level ? [(drawing) => drawLevel(drawing, level)] : [] },
  }, uPlot.join(lines.map(({ x, y }) => [x, y])), canvas);
  const [stops] = plot.data;
  const state = { at: stops.length - 1, picked: null, member: null };

  function point() {
    const x = stops[state.at];
    emphasise(plot, lines, state);
    redrawNote(note, plot, x, drawn, state);
    when.textContent = `after ${count(x)} problems, or where a run had ended`;
    legend.querySelectorAll("b").forEach((value, i) => { value.textContent = reading(drawn[i], x).value; });
  }

  function pick(picked, member = null) {
    Object.assign(state, { picked, member });
    point();
  }

  function follow({ cursor }) {
    if (cursor.idx === null || cursor.idx === undefined) return pick(null);
    state.at = cursor.idx;
    const line = nearest(plot, lines);
    pick(line.series, line.member);
  }

  function touch(event) {
    const box = plot.over.getBoundingClientRect();
    if (event.pointerType === "touch") plot.setCursor({ left: event.clientX - box.left, top: event.clientY - box.top });
  }

  function press(event) {
    const last = stops.length - 1;
    const to = { ArrowLeft: state.at - 1, ArrowRight: state.at + 1, Home: 0, End: last }[event.key];
    const turn = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (to === undefined && turn === undefined) return;
    event.preventDefault();
    if (to !== undefined) state.at = Math.min(last, Math.max(0, to));
    plot.setCursor({ left: plot.valToPos(stops[state.at], "x"), top: 0 }, false);
    pick(turn ? turned(drawn, state.picked, turn) : state.picked);
    say(spoken(drawn, stops[state.at], state.picked));
  }

  plot.over.append(note);
  plot.over.addEventListener("pointermove", touch);
  canvas.addEventListener("keydown", press);
  figure.append(valuesTable(drawn, stops, label, xTitle));
  figure.plot = plot;
  figure.observer = new ResizeObserver(() => plot.setSize(sizeOf(canvas)));
  figure.observer.observe(canvas);
  point();
}

function styleOf(number) {
  return { colour: `--series-${number % COLOURS}`, dash: DASHES[number % DASHES.length] };
}

function sizeOf(canvas) {
  const width = Math.max(260, canvas.clientWidth);
  return { width, height: Math.min(380, Math.max(230, Math.round(0.6 * width))) };
}

/** A colour of the style sheet as it is now: light, dark or for paper. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

function plotOptions(lines, xTitle) {
  const isCurve = (i) => lines[i - 1].member === null;
  const axis = { font: FONT, labelFont: FONT, stroke: () => colour("--soft"), ticks: { show: false } };
  const shares = [0, 0.25, 0.5, 0.75, 1];
  return {
    padding: [10, 14, 0, 0],
    legend: { show: false },
    scales: { x: { time: false }, y: { range: [-0.02, 1.02] } },
    axes: [
      { ...axis, grid: { show: false }, label: xTitle, labelSize: 20, size: 26, incrs: WHOLE_STEPS, space: 60,
        values: (_, numbers) => numbers.map(short) },
      { ...axis, grid: { stroke: () => colour("--line"), width: 1 }, size: 46, splits: () => shares,
        values: (_, numbers) => numbers.map((share) => percent(share, 0)) },
    ],
    cursor: {
      y: false,
      move: (plot, left, top) => [left < 0 ? left : plot.valToPos(plot.data[0][plot.posToIdx(left)], "x"), top],
      points: { size: (_, i) => (isCurve(i) ? 9 : 0), fill: (_, i) => colour(lines[i - 1].colour) },
    },
    series: [{}, ...lines.map((line) => ({
      label: line.name,
      stroke: () => colour(line.colour),
      dash: line.member === null ? line.dash : [],
      points: { show: line.y.filter((value) => value !== null).length === 1 },
    }))],
  };
}

function short(number) {
  if (number >= 1e6) return `${+(number / 1e6).toPrecision(3)}M`;
  return number >= 1000 ? `${+(number / 1000).toPrecision(3)}k` : String(number);
}

/** Draw a dotted line across, with its name at its end. */
function drawLevel({ ctx, bbox, valToPos }, { y, name }) {
  const [ratio, right, height] = [uPlot.pxRatio, bbox.left + bbox.width, valToPos(y, "y", true)];
  ctx.save();
  ctx.scale(ratio, ratio);
  Object.assign(ctx, { strokeStyle: colour("--ink"), lineWidth: 1 });
  ctx.setLineDash([2, 4]);
  ctx.stroke(new Path2D(`M${bbox.left / ratio},${height / ratio} H${right / ratio}`));
  ctx.setLineDash([]);
  Object.assign(ctx, { font: FONT, textAlign: "right", strokeStyle: colour("--paper"), fillStyle: colour("--soft"), lineWidth: 4 });
  ctx.strokeText(name, right / ratio, height / ratio - 5);
  ctx.fillText(name, right / ratio, height / ratio - 5);
  ctx.restore();
}

/** The line whose value at the cursor is nearest to the cursor in height. */
function nearest(plot, lines) {
  const { idxs, top } = plot.cursor;
  const distances = lines.map((_, i) => {
    const value = plot.data[i + 1][idxs[i + 1]];
    return value === null || value === undefined ? Infinity : Math.abs(plot.valToPos(value, "y") - top);
  });
  return lines[distances.lastIndexOf(Math.min(...distances))]; // of equals the last: a median, drawn on top
}

/** Let the series that is picked out stand out, and its member. */
function emphasise(plot, lines, { picked, member }) {
  lines.forEach((line, i) => {
    const [isPicked, isMember] = [line.series === picked, line.member !== null];
    const isMarked = isPicked && isMember && line.member === member;
    plot.series[i + 1].alpha = isMarked || (!isMember && isPicked) ? 1
      : picked === null || isPicked ? (isMember ? 0.5 : 1) : (isMember ? 0.1 : 0.2);
    plot.series[i + 1].width = isMarked || !isMember ? (isPicked ? 3.4 : 2.6) : 1;
  });
  plot.redraw(false);
}
