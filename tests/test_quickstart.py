"""The quickstart: three runs side by side, and what it writes of them. And one model trained to the end."""

import json

import pytest
from PIL import Image

from tests.runs import tiny_run, train, unchecked
from tests.tasks import READY
from unforced.cli.main import main
from unforced.evaluation.statistics import percent, percent_alone
from unforced.files import write_json
from unforced.recipes import resolve_run
from unforced.registry import TASKS
from unforced.reporting.quickstart import notes, worked_problem
from unforced.runs.folder import RunFolder
from unforced.tasks.sampling import problems
from unforced.training.train_module import build_train_module

NAMES = ("next_token", "reversed", "teacherless")
RUN = resolve_run("quickstart.next_token", [])
PARAMETERS = sum(parameter.numel() for parameter in build_train_module(RUN).parameters())
RATES = (
    f"muon at {RUN.learning_rate * RUN.muon_factor:g} for the matrices inside blocks, "
    f"adamw at {RUN.learning_rate:g} for all else"
)
SMALL = ["max_steps=20", "evaluate_every=10", "num_evaluate=50", "num_test=200", "batch_size=32"]


def quickstart(out, *arguments):
    with unchecked(), pytest.raises(SystemExit) as exit_:
        main(["quickstart", *SMALL, "--out", str(out), *arguments])
    return exit_.value.code


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("quickstart") / "q"
    assert quickstart(out, "--json") == 0
    return out


def test_it_writes_runs_table_figure_and_a_worked_problem(folder):
    for name in NAMES:
        assert (folder / name / "result.json").exists()
    table = (folder / "table.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:5]] == [
        "next_token",
        "reversed",
        "teacherless",
    ]
    width, height = Image.open(folder / "learning_curves.png").size
    assert width > 1000
    assert height > 300


def test_the_worked_problem_shows_each_answer_beside_the_truth(folder):
    worked = (folder / "worked_problem.txt").read_text()
    answers = json.loads((folder / "teacherless" / "answers.json").read_text())
    shown = next(answer for answer in answers if answer["prompt"] in worked)
    assert " → ".join(shown["true"]) in worked
    drawn = worked.split("teacherless")[1].splitlines()[0].replace("✗", "")
    assert " → ".join(shown["free"]) in drawn
    assert shown["verdict"].replace("_", " ") in drawn


OTHERS = {"addition": {"base": 7}}


@pytest.mark.parametrize("name", READY)
def test_every_kind_of_answer_to_every_task_is_worked_and_explained(tmp_path, name):
    task = TASKS.get(name)(**OTHERS.get(name, {}))
    some = problems(task, 0, "test", 0, 1)
    true = [task.alphabet[symbol] for symbol in task.answers(some)[0]]
    answer = {"prompt": task.text.prompts(some)[0], "drawn": task.draw(some, 0)}
    answer |= {"true": true, "free": ["?", *true[1:]]}
    folders = {kind: RunFolder(tmp_path / kind) for kind in task.verdict_kinds}
    for kind, folder in folders.items():
        folder.path.mkdir()
        write_json(folder.config, tiny_run().model_copy(update={"task": task}).tree())
        write_json(folder.answers, [answer | {"verdict": kind}])
    worked = worked_problem(folders).plain
    assert all(row in worked for row in task.draw(some, 0))
    for kind, words in task.verdict_kinds.items():
        (line,) = (line for line in worked.splitlines() if line.strip().startswith(f"{kind} "))
        assert line.endswith(f"{kind.replace('_', ' ')}: {words}" if words else "  correct")
        assert "?✗" in line


def test_all_three_runs_are_tested_on_the_same_problems(folder):
    lines = [
        [answer["prompt"] for answer in json.loads((folder / name / "answers.json").read_text())]
        for name in NAMES
    ]
    assert lines[0] == lines[1] == lines[2]
    assert len(set(lines[0])) == 100


def test_a_second_call_trains_nothing_anew_and_prints_the_report(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}
    assert quickstart(folder) == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}
    output = capsys.readouterr().out
    assert "held-out" in output
    assert "One held-out problem" in output


def test_the_terminal_shows_whole_headers_and_values_at_80_columns(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert quickstart(folder) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["chance", "50%", "training", "held-out", "token_1", "later", "steps"]
    for name, line in zip(NAMES, lines, strict=False):
        training, held_out, token, later = shown(folder / name)
        row = [name, percent(training), percent(held_out), percent_alone(token), percent_alone(later), "20"]
        assert line.split() == " ".join(row).split()
        assert len(line) <= 80


def shown(path):
    """Exact match on both splits; the first hop and the mean of the tokens after it, as they were trained."""
    result = json.loads((path / "result.json").read_text())
    mode = "free" if path.name == "teacherless" else "forced"
    first, *later = (result[f"train.{mode}.token_{i}"] for i in (1, 2, 3))
    mean = {"value": sum(token["value"] for token in later) / 2}
    return result["train.free.exact"], result["test.free.exact"], first, mean


def test_table_and_terminal_explain_columns_and_training(folder, capsys):
    assert quickstart(folder) == 0
    for text in (capsys.readouterr().out, (folder / "table.md").read_text()):
        words = " ".join(text.split())
        assert f"every run: {RATES}" in words
        assert f"at most 20 steps of 32 problems; gpt of {PARAMETERS:,} parameters" in words
        assert "token_1: needs lookahead; later: the tokens after it." in words
        assert "On training problems, teacher-forced (teacherless: free-running)." in words


def test_runs_that_were_trained_differently_say_so(folder):
    runs = {name: RunFolder(folder / name).run() for name in NAMES}
    results = {name: json.loads((folder / name / "result.json").read_text()) for name in NAMES}
    runs["reversed"] = runs["reversed"].override(["optimizer=adamw", "learning_rate=0.0005"])
    lines = notes(runs, results)
    how = f"at most 20 steps of 32 problems; gpt of {PARAMETERS:,} parameters."
    assert f"reversed: adamw at 0.0005; {how}" in lines
    assert any(line.startswith(f"next_token: {RATES}") for line in lines)


def test_a_folder_with_other_runs_is_refused(folder, capsys):
    before = contents(folder)
    assert quickstart(folder, "seed=1") == 2
    assert "cannot be resumed with seed=1" in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.slow
def test_reversed_answers_are_solved_and_forward_ones_are_guessed(tmp_path):
    """A minute: the same model and data, the answer backwards or forwards."""
    often = ["num_test=2000", "evaluate_every=100"]  # so that training ends as soon as it is solved
    train(resolve_run("quickstart.reversed", often), tmp_path / "reversed")
    solved = json.loads((tmp_path / "reversed" / "result.json").read_text())
    assert solved["ended_by"] == "solved"
    assert solved["steps"] < 1500
    assert solved["test.free.exact"]["low"] > 0.97
    train(resolve_run("quickstart.next_token", ["num_test=2000", "max_steps=500"]), tmp_path / "next_token")
    guessed = json.loads((tmp_path / "next_token" / "result.json").read_text())
    assert abs(guessed["test.free.exact"]["value"] - guessed["chance"]) < 0.05
    assert abs(guessed["test.free.token_1"]["value"] - guessed["chance"]) < 0.05
    assert guessed["test.free.errors"]["wrong_arm"] > 0.9 * (2000 - guessed["test.free.exact"]["correct"])
