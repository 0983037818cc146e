// The explorer: a run, a problem, a question about it, and a step of the answer.

const MODES = {
  forced: { title: "Teacher-forced", reads: "the true answer so far", oneOf: "one right answer so far" },
  free: { title: "Free-running", reads: "its own answer so far" },
};

/**
 * Set the explorer up; return `open(run)`, which shows a run (null: none matches the filters), and `offer(runs)`,
 * which sets the runs to choose from. `onRun(run)` is called with a run chosen here.
 */
function explorer(runs, onRun) {
  const state = { run: null, problem: 0, question: 0, step: 0 };
  const questions = () => state.run.traces.problems[state.problem];
  const question = () => questions()[state.question] ?? questions()[0];

  function draw(changes) {
    Object.assign(state, changes);
    state.step = Math.min(question().true.length - 1, Math.max(0, state.step));
    byId("explore-problem").value = state.problem;
    show(state, questions(), question(), move);
  }

  function move(changes) {
    draw(changes);
    say(inSentences(state, questions(), question()));
  }

  function goTo(problem) {
    const total = state.run.traces.problems.length;
    move({ problem: (problem + total) % total, question: 0 });
  }

  function open(run) {
    state.run = run;
    const problems = run?.traces?.problems ?? [];
    showWhetherEmpty(run, problems.length === 0);
    choices(byId("explore-problem"), problems.map(problemName));
    if (run) byId("explore-run").value = runs.indexOf(run);
    if (problems.length === 0) return;
    showSettings(run);
    const astray = problems.findIndex(([first]) => followsAnotherPath(first));
    const wrong = problems.findIndex(([first]) => first.verdict !== "correct");
    Object.assign(state, { problem: Math.max(0, astray >= 0 ? astray : wrong), question: 0 });
    draw({ step: firstDecision(run, question()) });
  }

  const pressed = (event) => {
    const step = { ArrowLeft: state.step - 1, ArrowRight: state.step + 1, Home: 0, End: Infinity }[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey || !listens(event)) return;
    if (byId("explore-panel").hidden) return;
    event.preventDefault();
    move({ step });
  };

  byId("explore-run").addEventListener("change", () => onRun(runs[byId("explore-run").value]));
  byId("explore-problem").addEventListener("change", () => goTo(+byId("explore-problem").value));
  byId("problem-before").addEventListener("click", () => goTo(state.problem - 1));
  byId("problem-after").addEventListener("click", () => goTo(state.problem + 1));
  byId("step-back").addEventListener("click", () => move({ step: state.step - 1 }));
  byId("step-on").addEventListener("click", () => move({ step: state.step + 1 }));
  document.addEventListener("keydown", pressed);
  const nameOf = (run) => (run.traces ? run.name : `${run.name} (no traces)`);
  return { open, offer: (offered) => runChoices(byId("explore-run"), offered, runs, nameOf) };
}

function showWhetherEmpty(run, empty) {
  byId("explore-panel").hidden = empty;
  byId("explore-nothing").hidden = !empty;
  for (const id of ["explore-problem", "problem-before", "problem-after"]) byId(id).disabled = empty;
  byId("explore-nothing").textContent = run
    ? `${run.name} has no traces to explore: it was trained before runs wrote traces.json, or the file is damaged. `
      + "A run that is trained again has them."
    : "No run matches the filters.";
}

/** The state of the explorer as sentences for a screen reader: question, predictions, answer. */
function inSentences({ run, step }, questions, question) {
  const at = positionOf(run.traces.order, step, question.true.length);
  const guesses = modesOf(question).map((mode) => {
    const [symbol, chance] = question.chances[mode][at]?.[0] ?? [];
    return symbol && `${inOnePass(run.traces, mode) ? "in one pass" : MODES[mode].title.toLowerCase()} ${symbol}, ${percent(chance)}`;
  });
  return `Asked: ${asks(question)}. token_${at}: ${question.unique ? "true" : "one right answer"} ${question.true[at]}; `
    + `${guesses.filter(Boolean).join("; ") || "no probabilities"}. `
    + `Free-running answer ${question.free.join(" ")}: ${verdictWords(question)}.`;
}

/** Whether a key steps: in the explorer, or if nothing has the focus and the explorer is in sight. */
function listens({ target }) {
  if (target.closest("select, input, textarea, .canvas")) return false;
  if (target.closest("#explorer")) return true;
  const box = byId("explorer").getBoundingClientRect();
  return target === document.body && box.top < 0.6 * innerHeight && box.bottom > 0;
}

function problemName([first], i) {
  const ends = first.drawing.goal ? `${first.drawing.start} to ${first.drawing.goal}` : first.prompt;
  return [i, `${i + 1}: ${ends}, ${verdictWords(first)}`];
}

/** The answer position that is written at a step. */
function positionOf(order, step, length) {
  return order === "reversed" ? length - 1 - step : step;
}

function firstDecision({ traces }, { decisive, true: { length } }) {
  const steps = Array.from({ length }, (_, step) => step);
  return Math.max(0, steps.find((step) => decisive.includes(positionOf(traces.order, step, length))) ?? 0);
}

function show(state, questions, question, move) {
  const { run, step } = state;
  const { length } = question.true;
  const at = positionOf(run.traces.order, step, length);
  const written = (position) => positionOf(run.traces.order, position, length) <= step;
  const answer = question.free.map((symbol, position) => (written(position) ? symbol : null));
  showGoals(questions, question, (chosen) => move({ question: chosen }));
  showPicture(question, answer, at);
  showStep(step, length, at, question, run.traces.order);
  redraw(byId("predictions"), ...modesOf(question).map((mode) => prediction(run, question, mode, at, step)));
  redraw(byId("answers"), answers(run, question, at, written,
    (position) => move({ step: positionOf(run.traces.order, position, length) })));
  redraw(byId("blindness"), ...blindness(questions, question, at, (chosen) => move({ question: chosen })));
  byId("verdict").replaceChildren(...verdict(question));
}

function modesOf(question) {
  return Object.keys(MODES).filter((mode) => mode in question.chances);
}

/** A short name of a question, which distinguishes it from the others about the same problem. */
function asks(question) {
  return question.drawing.goal ? `goal ${question.drawing.goal}` : question.prompt;
}

function showGoals(questions, question, onChoose) {
  const buttons = questions.map((other, i) => html("button", {
    type: "button", "data-key": `goal-${i}`, "aria-pressed": other === question, onclick: () => onChoose(i),
  }, asks(other)));
  redraw(byId("goals"), html("span", {}, questions.length > 1 ? "Ask for " : "Asked: "), ...buttons);
}

function showPicture(question, answer, at) {
  const chances = question.chances.free[at] ?? [];
  if (!isGraph(question)) {
    const { rows, own } = question.drawing;
    const drawn = own?.length ? [...rows, "", "the model's answer", ...own] : rows;
    byId("picture").replaceChildren(rows?.length ? html("pre", { class: "rows" }, drawn.join("\n"))
      : html("p", { class: "line" }, `${question.prompt} ${question.answer}`));
    byId("picture-key").replaceChildren(
      ...(question.unique ? [] : [html("li", {}, "An answer drawn beside the prompt is one right answer.")]));
    return;
  }
  byId("picture").replaceChildren(drawGraph(question, answer, at, chances));
  const off = (symbol, i) => symbol !== null && !isRight(question, symbol, i);
  byId("picture-key").replaceChildren(
    keyItem("truth", question.unique ? "true path" : "one right path"),
    keyItem("own right", "free-running answer"),
    keyItem("own wrong", question.unique ? "off the true path" : "the same, where it is wrong"),
    ...(pairs(answer).some(([a, b]) => a && b && !hasEdge(question.drawing, a, b))
      ? [keyItem("own jump", "no such edge")] : []),
    html("li", {}, "% : probability of coming next, free-running"),
    ...(answer.some((symbol, i) => off(symbol, i) && !question.drawing.edges.flat().includes(symbol))
      ? [html("li", { class: "bad" }, "✗ the answer also holds symbols that are not nodes of this graph")] : []),
  );
}

function keyItem(name, text) {
  return html("li", {}, svg("svg", { width: 30, height: 12, "aria-hidden": "true" },
    svg("line", { class: name, x1: 4, x2: 26, y1: 6, y2: 6 })), text);
}

function showStep(step, length, at, question, order) {
  const decisive = question.decisive.includes(at);
  const backwards = order === "reversed" ? ", written backwards" : "";
  byId("step-name").replaceChildren(
    html("b", {}, `token_${at}`), ` step ${step + 1} of ${length}${backwards}`,
    decisive ? html("span", { class: "decisive" }, "◆ needs lookahead") : "");
  byId("step-back").disabled = step === 0;
  byId("step-on").disabled = step === length - 1;
}

/** What is predicted at a position, as bars. */
function prediction(run, question, mode, at, step) {
  const top = question.chances[mode][at] ?? [];
  const lone = inOnePass(run.traces, mode);
  const read = (mode === "forced" ? question.true : question.free)
    .filter((_, position) => positionOf(run.traces.order, position, question.true.length) < step);
  const shown = run.traces.order === "reversed" ? read.reverse() : read;
  const reads = lone ? "the prompt alone: the whole answer in one pass"
    : `${question.unique ? MODES[mode].reads : MODES[mode].oneOf ?? MODES[mode].reads}: ${shown.join(" ") || "nothing yet"}`;
  const content = top.length ? html("ol", { class: "bars" }, ...top.map((candidate) => bar(candidate, question, at, mode)))
    : html("p", { class: "hint" }, nothingKnown(run.traces, question, mode));
  return html("section", { class: `prediction ${mode}`, "aria-label": `${MODES[mode].title} prediction` },
    html("h3", {}, lone ? "In one pass" : MODES[mode].title), html("p", { class: "reads" }, `reads ${reads}`), content);
}

// Whether a prediction reads only the prompt (traces of early runs do not record how answers are written).
const inOnePass = (traces, mode) => mode === "free" && (traces.writes ?? (traces.reads_answers || "one_pass")) === "one_pass";

function nothingKnown(traces, question, mode) {
  if (mode === "free" && traces.writes === "any_order") {
    return "No probabilities: the answer was not written from left to right.";
  }
  return mode === "free" && question.free.includes("?")
    ? "No probabilities: the answer so far holds invalid symbols."
    : "No probabilities: the tokens do not distinguish symbols here.";
}

/** The predictions at a position for all questions about the problem, side by side. */
function blindness(questions, question, at, onChoose) {
  if (questions.length < 2) return [];
  const mode = "forced" in question.chances ? "forced" : "free";
  const rows = questions.map((other, i) => {
    const [symbol, chance] = other.chances[mode][at]?.[0] ?? ["–", null];
    const wrong = other.unique && symbol !== other.true[at];
    return html("tr", { class: other === question ? "chosen" : "" },
      html("th", { scope: "row" }, html("button", { type: "button", class: "link", "data-key": `ask-${i}`,
        onclick: () => onChoose(i) }, asks(other))),
      html("td", {}, other.true[at]),
      html("td", { class: wrong ? "wrong" : other.unique ? "right" : "" }, symbol,
        html("small", {}, ` ${percent(chance, 0)}`), wrong ? " ✗" : ""),
      html("td", {}, html("span", { class: "whole" }, other.free.join(" ")),
        html("small", { class: "block" }, verdictWords(other))));
  });
  const titles = ["asked", question.unique ? `true token_${at}` : `token_${at} of one right answer`, `first choice${mode === "forced" ? ", teacher-forced" : ""}`,
    "free-running answer"];
  return [
    html("h3", {}, "Other questions about the same problem"),
    html("p", { class: "blind" }, sees(questions, mode, at)),
    html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Answers to each question" },
      html("table", {}, html("thead", {}, html("tr", {}, ...titles.map((title) => html("th", { scope: "col" }, title)))),
        html("tbody", {}, ...rows))),
  ];
}

function sees(questions, mode, at) {
  const truths = new Set(questions.map((other) => other.true[at]));
  const firsts = questions.map((other) => other.chances[mode][at]?.[0]?.[0]);
  if (firsts.includes(undefined) || !questions[0].unique) return "";
  const symbols = new Set(firsts);
  if (truths.size === 1) return `token_${at} is ${questions[0].true[at]} for every question.`;
  if (symbols.size === 1) {
    return `Question-blind: token_${at} should change with the question, and the model’s first choice is ${firsts[0]} for `
      + `all ${questions.length}.`;
  }
  const right = questions.filter((other, i) => other.true[at] === firsts[i]).length;
  const inputs = mode === "forced" ? ", given the true answer so far," : "";
  return `token_${at} changes with the question; the model’s first choice${inputs} changes too, and is right `
    + `${right} times in ${questions.length}.`;
}

function showSettings(run) {
  const pairs = Object.entries(run.settings).flatMap(([key, value]) => [
    html("dt", {}, key), html("dd", {}, JSON.stringify(value))]);
  byId("settings").querySelector("dl").replaceChildren(...pairs);
}
