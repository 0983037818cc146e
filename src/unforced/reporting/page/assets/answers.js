// An answer symbol by symbol, beside the reference. Where problems have several right answers (a question's `unique` is
// false) the reference is one of them: no symbol by itself is wrong, and the verdict is about the whole answer. Where they
// are open-ended (`open`), an answer that the verifier accepts is called coherent.

/** Whether a symbol of the free-running answer is right; where several are, whether the whole answer is. */
function isRight(question, symbol, i) {
  return question.unique ? symbol === question.true[i] : question.verdict === "correct";
}

function verdictWords({ verdict, open }) {
  return open && verdict === "correct" ? "coherent" : words(verdict);
}

/** A probable symbol with its probability; marked if the reference has it, where the reference is what was read. */
function bar([symbol, chance], question, at, mode) {
  const same = symbol === question.true[at] && (question.unique || mode === "forced");
  const right = same && question.unique;
  return html("li", { class: right ? "right" : "" },
    html("span", { class: "symbol" }, symbol),
    html("span", { class: "track" }, html("span", { class: "fill", style: `width:${100 * chance}%` })),
    html("span", { class: "number" }, chance < 0.0005 ? "<0.1%" : percent(chance)),
    html("span", { class: "mark" }, right ? "✓ true" : same ? "in that answer" : ""));
}

/** The reference and the model's answers, a column per position. */
function answers(run, question, at, written, onPosition) {
  const { true: truth, forced, free, unique } = question;
  const longest = Math.max(truth.length, free.length);
  const name = (i) => (question.decisive.includes(i) ? `${i} ◆` : i);
  const head = Array.from({ length: longest }, (_, i) => html("th", { scope: "col", class: i === at ? "now" : "" },
    i < truth.length ? html("button", { type: "button", class: "link", "data-key": `token-${i}`, "aria-pressed": i === at,
      "aria-label": `Go to token_${i}`, onclick: () => onPosition(i) }, name(i)) : name(i)));
  const sign = unique ? "" : question.verdict === "correct" ? " ✓" : " ✗";
  const rows = [[unique ? "true" : "one right answer", truth, () => true], ["teacher-forced", forced, written],
    [`free-running${sign}`, free, written]].filter(([, symbols]) => symbols)
    .map(([title, symbols, seen]) => html("tr", {}, html("th", { scope: "row" }, title),
      ...symbols.map((symbol, i) => cell(symbol, unique ? truth[i] : null, i === at, seen(i)))));
  return html("table", {}, html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "token"), ...head)),
    html("tbody", {}, ...rows));
}

/** A symbol; `truth` is what it has to be, null where nothing says so. */
function cell(symbol, truth, now, seen) {
  const wrong = truth !== null && symbol !== truth;
  const classes = [now ? "now" : "", wrong ? "wrong" : truth === null ? "" : "right", seen ? "" : "later"];
  return html("td", { class: classes.filter(Boolean).join(" ") }, symbol, wrong ? html("span", {}, " ✗") : null);
}

function verdict(question) {
  const right = question.verdict === "correct";
  const truth = question.unique ? "the true one is" : question.open ? "another coherent one is" : "one right answer is";
  const same = !question.unique && question.true.join(" ") === question.free.join(" ");
  return [html("b", { class: right ? "good" : "bad" }, `${right ? "✓" : "✗"} ${verdictWords(question)}`),
    ` — the free-running answer is ${question.free.join(" ")}`, same ? "." : `; ${truth} ${question.true.join(" ")}.`];
}
