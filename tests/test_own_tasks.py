"""Tasks whose answers vary in length, of which some have several right ones, through every verb."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from examples.own_task import Sorting
from tests.runs import tiny_run, train, unchecked
from unforced import registry
from unforced.data.files import read_problems, write_problems
from unforced.errors import UserError
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.trace import symbol_texts
from unforced.reporting.load import collect_runs
from unforced.reporting.report_figures.slices import prepare_slices
from unforced.runs.groups import group_runs
from unforced.tasks.countdown import Countdown
from unforced.tasks.crossing_lines import CrossingLines
from unforced.tasks.dag_paths import DagPaths
from unforced.tasks.minimal_planning import MinimalPlanning
from unforced.tasks.sampling import problems
from unforced.testing.planted import Cheater, Perfect, planted_subject
from unforced.training.train_module import build_train_module

TASKS = {
    "crossing_lines": CrossingLines(),
    "countdown": Countdown(),
    "dag_paths": DagPaths(num_nodes=60),
    "minimal_planning": MinimalPlanning(path_length=5, num_nodes=10),
    "sorting": Sorting(),
}


def tiny(task, *overrides):
    return tiny_run("max_steps=4", "evaluate_every=2", "model.width=8", *overrides).replace(task=task)


@pytest.fixture(autouse=True, scope="module")
def registered():
    with registry.TASKS.holding(sorting="examples.own_task:Sorting"):
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory, registered):
    root = tmp_path_factory.mktemp("runs")
    for name, task in TASKS.items():
        train(tiny(task), root / name)
    return root


@pytest.fixture(params=TASKS)
def folder(request, folders):
    return folders / request.param


def test_a_report_shows_tasks_of_ones_own_and_chances_that_are_unknown(folders, call, tmp_path, in_svg_alone):
    assert call("report", folders, "--out", tmp_path / "report")[0] == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert all(str(task) in page for task in TASKS.values())
    rows = (tmp_path / "report" / "tables" / "accuracy.md").read_text().splitlines()
    for task in TASKS.values():
        (row,) = (row for row in rows if row.startswith(f"| {task.topology} |"))
        assert ("unknown" in row) == (task.chance is None)
    assert (tmp_path / "report" / "figures" / "slices.svg").exists()
    header = (tmp_path / "report" / "tables" / "slices.md").read_text().splitlines()[0]
    assert re.findall(r"degree \d|distance \d", header) == [
        *(f"degree {number}" for number in range(4)),
        *(f"distance {number}" for number in range(3)),
    ]


def test_a_figure_shows_each_run_in_each_slice(folders):
    table = prepare_slices(group_runs(collect_runs([folders]).runs))
    assert {*zip(table["facet"], table["by"], strict=True)} == {
        ("X(3,3-6,2), gpt", "length"),
        ("X(3,3-6,2), gpt", "crossing"),
        ("countdown(3-4,20), gpt", "numbers"),
        ("DAG(60,0.1), gpt", "degree"),
        ("P(5,0-2), gpt", "distance"),
    }
    counted = table.set_index(["by", "slice"]).loc[("degree", 1)]
    result = json.loads((folders / "dag_paths" / "result.json").read_text())
    assert counted["total"] == result["test.slice.degree_1.free.exact"]["total"]
    assert table[table["by"] == "distance"]["total"].sum() == result["test.free.exact"]["total"]


def test_every_verb_works_on_a_task_whose_answers_vary(folder, call, tmp_path):
    name, table, again = folder.name, tmp_path / "a.parquet", tmp_path / "b.parquet"
    task = TASKS[name]
    code, output, _ = call("evaluate", folder, "--split", "validation", "--count", 40, "--json")
    found = json.loads(output)
    slices = [value["total"] for key, value in found.items() if key.startswith("validation.slice.")]
    assert (code, sum(slices)) == (0, 40 * len(task.score(*scored(task)).slices))
    assert (
        call("data", "export", folder / "config.json", "--split", "test", "--count", 30, "--out", table)[0]
        == 0
    )
    assert call("data", "import", table, "--task", name, "--out", again)[0] == 0
    assert pq.read_table(table).drop("index") == pq.read_table(again).drop("index")
    assert (
        json.loads(call("evaluate", folder, "--data", again, "--json")[1])["file.free.exact"]["total"] == 30
    )
    assert call("export", folder, "--to", tmp_path / "exported")[0] == 0
    words = "chance: unknown" if task.chance is None else f"chance: {100 * task.chance:.1f}%"
    assert words in (tmp_path / "exported" / "README.md").read_text()


def scored(task):
    some = problems(task, 0, "test", 0, 5)
    return some, task.answers(some)


def test_a_position_is_counted_over_the_problems_that_have_it(folder):
    task, result = TASKS[folder.name], json.loads((folder / "result.json").read_text())
    tested = problems(task, 0, "test", 0, 60)
    having = task.exists(task.answers(tested)).sum(axis=0)
    assert 0 < having[-1] < 60 or folder.name not in ("countdown", "sorting")
    for position, count in enumerate(having):
        for mode in ("free", "forced"):
            key = f"test.{mode}.token_{position}"
            assert (result[key]["total"] if count else key not in result) == (count or True)


def test_text_of_another_task_is_not_read(call, tmp_path):
    (tmp_path / "a.txt").write_text("3 4 > 7 :3 + 4 = 7\n")
    code, _, errors = call("data", "import", tmp_path / "a.txt", "--task", "countdown")
    assert code == 2
    assert "problems of countdown cannot be told from text; give a .parquet file" in errors


def test_symbols_that_are_not_those_of_the_stream_are_refused(call, tmp_path):
    some = problems(Countdown(), 3, "test", 0, 10)
    write_problems(tmp_path / "a.parquet", Countdown(), some, "forward", {"seed": 4, "split": "test"})
    with pytest.raises(UserError, match="its prompt_symbols are not those of its text"):
        read_problems(tmp_path / "a.parquet", Countdown)
    write_problems(tmp_path / "b.parquet", Countdown(), some, "forward")
    with pytest.raises(UserError, match="it does not say which problems of countdown it holds"):
        read_problems(tmp_path / "b.parquet", Countdown)


def diagnosis_of_a_random_model(task, *overrides):
    run = tiny(task, *overrides)
    held_out = problems(task, 0, "test", 0, 1600)
    with unchecked():
        return diagnose(Evaluator.of(run, build_train_module(run)), held_out, held_out)


def test_what_needs_lookahead_is_unknown_or_nothing_or_measured():
    found = diagnosis_of_a_random_model(Sorting())
    for section in ("clever_hans", "indecipherable_token", "probability"):
        assert "what needs lookahead in sorting most=6 is unknown" in found[section]["does_not_apply"]
    assert set(found["snowball"]["first_error"]) == {f"token_{i}" for i in range(6)}
    backwards = diagnosis_of_a_random_model(CrossingLines(), "order=reversed")
    assert "the last node before the crossing is decided ahead" in backwards["probability"]["does_not_apply"]


class AnotherWay(Perfect):
    """Knows the answer, and swaps the first two operands where the operation lets it."""

    def next(self, known, so_far, chance):
        position, values = so_far.shape[1], known.task.max_value + 1
        swaps = np.isin(known.truth[:, 1], [values, values + 2])  # + and *
        other = {0: 2, 2: 0}.get(position, position)
        return np.where(swaps, known.truth[:, other], known.truth[:, position])


@pytest.mark.parametrize(
    ("task", "kind"), [(CrossingLines(), "wrong_line"), (MinimalPlanning(), "wrong_branch")], ids=str
)
def test_a_cheater_is_found_where_the_decision_stands_in_the_middle(task, kind):
    train, held_out = problems(task, 0, "train", 0, 200), problems(task, 0, "test", 0, 4000)
    found = diagnose(planted_subject(task, Cheater(), train, held_out), train, held_out)
    assert found["verdict"]["name"] == "clever_hans"
    assert found["clever_hans"]["cheat_accuracy"]["value"] == 1
    assert found["clever_hans"]["decoy_following"]["value"] == 1
    assert found["snowball"]["errors_at_decisions"]["observed"]["value"] == 1
    assert found["error_kinds"][kind] == 4000 - found["error_kinds"]["correct"]
    knows = diagnose(planted_subject(task, Perfect(), train, held_out), train, held_out)
    assert knows["verdict"]["name"] == "solved"
    assert knows["clever_hans"]["question_blindness"]["decisions"]["value"] == 0


def test_where_several_answers_are_right_no_token_is_called_an_error():
    task = Countdown(fewest=3, most=3)
    train, held_out = problems(task, 0, "train", 0, 100), problems(task, 0, "test", 0, 1600)
    found = diagnose(planted_subject(task, AnotherWay(), train, held_out), train, held_out)
    assert found["exact"]["test"]["value"] == 1
    assert found["exact"]["as_trained"]["test"]["value"] < 1
    assert "has several right answers" in found["snowball"]["does_not_apply"]
    assert found["verdict"]["name"] == "solved"
    failed = diagnosis_of_a_random_model(task)["verdict"]
    assert failed["name"] == "not_yet_fitted"
    assert not any("given the true ones before it" in line for line in failed["because"])


@pytest.mark.parametrize(
    ("made", "mistake"),
    [
        ((["x", "="], ["1"]), r"made the prompt 'x =', but 'x' is none of its signs; add it to"),
        ((["1", "="], ["="]), r"made the answer '=', but '=' is none of its signs; add it to `answer_signs`"),
        ((["1"] * 9, ["1"]), r"made the prompt '1 1 1 1 1 1 1 1 1' of 9 signs, more than 7; give `longest`"),
        ((["1", "="], ["1"] * 7), r"made the answer '1 1 1 1 1 1 1' of 7 signs, more than 6; give `longest`"),
    ],
)
def test_signs_that_a_task_does_not_have_are_one_line(made, mistake):
    class Wrong(Sorting):
        def make(self, rng):
            return made

    with pytest.raises(UserError, match=f"task: sorting {mistake}"):
        Wrong().sample(np.random.default_rng(0), 1)


def test_a_sign_of_prompts_and_answers_is_one_of_answers():
    class Both(Sorting):
        @property
        def other_signs(self):
            return ("=", "1")

        def make(self, rng):
            return ["1", "="], ["1"]

    task = Both()
    made = task.sample(np.random.default_rng(0), 1)
    assert (task.answers(made)[0, 0], task.prompts(made)[0, -2]) == (1, 1)
    assert task.score(made, task.answers(made)).exact.all()


def test_an_answer_is_shown_up_to_its_end():
    assert symbol_texts(Sorting(), np.array([1, 2, -2, -1, -1, -1])) == ["1", "2", "?"]
