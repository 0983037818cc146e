"""Parts of one's own: from a file, a session, another package; known to every verb and process."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests.runs import command, tiny_run, train, unchecked
from unforced.config import Run
from unforced.errors import PartWarning, UserError
from unforced.objectives.next_token import NextToken
from unforced.parts import Part
from unforced.plugins import load_file
from unforced.recipes import resolve_run
from unforced.registry import OBJECTIVES, TASKS
from unforced.runs.folder import RunFolder
from unforced.runs.index import read_finished
from unforced.studies.folder import StudyFolder
from unforced.study import Study

MINE = '''
from typing import Literal

from neighbour_of_mine import FACTOR
from pydantic import Field

from unforced.objectives.next_token import NextToken
from unforced.recipes.quickstart import quickstart
from unforced.study import Study, over_seeds


class Scaled(NextToken):
    """Next-token prediction with a loss that is scaled."""

    name: Literal["scaled"] = "scaled"
    factor: float = Field(FACTOR, gt=0, description="of the loss")

    def loss(self, model, heads, view):
        return {key: self.factor * value for key, value in super().loss(model, heads, view).items()}


def recipe():
    """A run of a few steps."""
    run = quickstart()["next_token"].replace(objective=Scaled(), max_steps=4, evaluate_every=2)
    return run.replace(task={"degree": 2, "path_length": 3}, model={"layers": 1, "width": 16, "heads": 2})


def seeds():
    """Two seeds."""
    return Study("seeds", "our own question", over_seeds({"scaled": recipe()}, range(2)))


def both():
    """Two runs."""
    return {"one": recipe(), "double": recipe().replace(objective={"factor": 2.0})}
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "neighbour_of_mine", raising=False)
    folder = tmp_path / "of mine"
    folder.mkdir()
    (folder / "neighbour_of_mine.py").write_text("FACTOR = 0.5\n")
    (folder / "mine.py").write_text(MINE)
    return folder / "mine.py"


def tiny_by(mine):
    return tiny_run("max_steps=4", "evaluate_every=2").replace(objective=f"{mine}:Scaled")


def test_every_verb_of_any_process_knows_the_parts_of_a_file(mine, tmp_path, call, monkeypatch, in_svg_alone):
    """From another folder; each verb has forgotten what the one before it knew."""
    elsewhere, run, study = tmp_path / "elsewhere", tmp_path / "run", tmp_path / "study"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    small = ["num_test=60", "num_evaluate=50", "model.token_shift=false"]

    def unforced(*arguments):
        with OBJECTIVES.kept():
            code, output, errors = call(*arguments)
        assert code == 0, errors
        return output

    unforced("train", f"{mine}:recipe", "objective.factor=0.25", *small, "--out", run)
    assert json.loads((run / "config.json").read_text())["objective"]["factor"] == 0.25
    diagnosing = command("diagnose", run, "--count", "400", "--confidence", "0.51", "--json", cwd=elsewhere)
    assert "verdict" in json.loads(diagnosing.communicate()[0])
    assert json.loads(unforced("evaluate", run, "--count", "50", "--json"))["test.free.exact"]["total"] == 50
    unforced("study", f"{mine}:seeds", *small, "--out", study, "--workers", "1")
    assert [RunFolder(study / f"scaled-{seed}").done for seed in range(2)] == [True, True]
    assert "scaled" in unforced("compare", study)
    unforced("report", tmp_path, "--to", tmp_path / "report")
    assert "scaled" in (tmp_path / "report" / "tables" / "accuracy.md").read_text()
    unforced("export", run, "--to", tmp_path / "exported")
    assert "scaled" in (tmp_path / "exported" / "README.md").read_text()


@pytest.fixture
def recorded(mine, tmp_path):
    """A run that was trained with a part of a file, which nothing here knows any more."""
    with OBJECTIVES.kept():
        train(tiny_by(mine), tmp_path / "run")
    return tmp_path / "run"


def test_a_run_folder_says_where_parts_are_from(mine, recorded):
    parts = json.loads((recorded / "parts.json").read_text())
    assert [(part["kind"], part["name"], part["file"]) for part in parts] == [
        ("objective", "scaled", str(mine))
    ]
    assert parts[0]["sha256"] == load_file(mine).sha256
    assert json.loads((recorded / "env.json").read_text())["parts"] == parts
    assert RunFolder.open(recorded).run().objective.factor == 0.5


def test_a_file_that_has_changed_is_reported_once_and_used(mine, recorded, call):
    mine.write_text(MINE.replace("FACTOR, gt", "1.0, gt"))
    code, output, errors = call("evaluate", recorded, "--count", "50", "--json")
    assert code == 0
    assert json.loads(output)["test.free.exact"]["total"] == 50
    assert errors.count("mine.py has changed since a run with its objective 'scaled' was begun\n") == 1


def test_a_file_that_is_gone_is_named_until_another_is_given(mine, recorded, call, tmp_path, monkeypatch):
    moved = shutil.move(mine, mine.with_name("moved.py"))
    code, _, errors = call("evaluate", recorded)
    assert code == 2
    assert f"objective 'scaled' came from {mine}, which is gone" in errors
    monkeypatch.setenv("UNFORCED_PLUGINS", str(moved))
    with OBJECTIVES.holding(), pytest.warns(PartWarning, match=r"gone; it is taken from .*moved\.py$"):
        assert RunFolder.open(recorded).run().objective.factor == 0.5
    monkeypatch.setenv("UNFORCED_PLUGINS", os.pathsep.join([str(moved), "none.py"]))
    with OBJECTIVES.holding(), pytest.raises(UserError, match=r"UNFORCED_PLUGINS: none\.py: no such file"):
        OBJECTIVES.names()


def test_a_report_knows_the_task_of_a_file(tmp_path):
    file = Path(__file__).parent.parent / "examples" / "own_task.py"
    with TASKS.kept():
        train(tiny_run("max_steps=2", "evaluate_every=2", f"task={file}:Sorting"), tmp_path / "run")
    assert "sorting" not in TASKS.names()
    assert read_finished(tmp_path / "run").topology == "sorting most=6"


def test_the_config_of_a_run_folder_trains_again(recorded, tmp_path):
    run = resolve_run(str(recorded / "config.json"), ["seed=1"])
    assert (run.objective.name, run.seed) == ("scaled", 1)


def test_a_class_of_a_file_can_be_named_where_a_part_can(mine, call):
    assert tiny_by(mine).objective.factor == 0.5
    typed = tiny_run().override([f"objective={mine}:scaled", "objective.factor=3"])
    assert (typed.objective.name, typed.objective.factor) == ("scaled", 3.0)
    for name, mistake in {
        "Scale": r"mine\.py: unknown objective 'Scale'; did you mean 'Scaled'",
        "recipe": r"mine\.py: unknown objective 'recipe'",
    }.items():
        with pytest.raises(UserError, match=mistake):
            tiny_run().replace(objective=f"{mine}:{name}")
    with pytest.raises(UserError, match=r"mine\.py: Scaled is of kind objective, not task"):
        tiny_run().replace(task=f"{mine}:Scaled")
    code, output, _ = call("show", f"{mine}:both.double", "--json")
    assert (code, json.loads(output)["objective"]["factor"]) == (0, 2.0)


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("import os\nx = 1 / 0\n", r"mine\.py: line 2: ZeroDivisionError: division by zero$"),
        ("def f(:\n", r"mine\.py: line 1: SyntaxError: invalid syntax$"),
        (
            "\nraise SystemExit(1)\n",
            r"mine\.py: line 2: SystemExit: 1; imported, it must not end: put that below",
        ),
        (
            "def recipe(seed, *, rate): ...\n",
            r"mine\.py: line 1: recipe needs arguments \(seed, rate\); give them",
        ),
        ("\ndef recipe():\n    return {}['x']\n", r"mine\.py: line 3: KeyError: 'x'$"),
        ("def recipe(): ...\n", r"mine\.py:recipe is not a recipe: its function returns no run"),
        (
            MINE.replace('"scaled"', '"next_token"'),
            r"line 12: objective 'next_token' is there twice: .*rename",
        ),
        (
            MINE.replace("    name:", "    nome:"),
            r"line 12: objective Scaled: its name 'next_token' is that of",
        ),
        (
            MINE.replace("Scaled(NextToken)", "Scaled(Objective)").replace(
                "objectives.next_token import NextToken", "objectives.base import Objective"
            ),
            r"line 12: objective 'scaled': class Scaled lacks default_decoder and shows and view$",
        ),
        (
            MINE.replace("def recipe", "recipe = Scaled\ndef other"),
            r"mine\.py: objective recipe is not a recipe",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(mine, call, source, mistake):
    mine.write_text(source)
    code, _, errors = call("train", f"{mine}:recipe")
    assert code == 2
    (line,) = errors.splitlines()
    assert re.search(mistake, line), line


def test_a_neighbour_by_the_name_of_another_module_is_refused(mine):
    (mine.parent / "pydantic.py").write_text("Field = None\n")
    with pytest.raises(
        UserError, match=r"imports pydantic, which is .*not its neighbour; rename pydantic\.py"
    ):
        load_file(mine)


def test_a_file_is_imported_once_for_each_content(mine):
    once = load_file(mine)
    cls = once.namespace["Scaled"]
    assert once.names == ("scaled",)
    assert load_file(str(mine)).namespace["Scaled"] is cls is OBJECTIVES.get("scaled")
    mine.write_text(MINE.replace("class Scaled", "class Halved").replace("Scaled()", "Halved()"))
    assert load_file(mine).sha256 != once.sha256
    assert OBJECTIVES.get("scaled").__name__ == "Halved"


def defined(factor):
    """A class, as a notebook cell defines it anew each time that it is run."""

    class Own(NextToken):
        name: Literal["own"] = "own"
        factor: float = 1.0

    Own.__module__, Own.__qualname__ = "__main__", "Own"
    return Own(factor=factor)


def test_a_class_of_this_session_is_known_once_a_run_holds_it(run, tmp_path):
    held = run.replace(objective=defined(2.0))
    assert Run.from_tree(held.tree()) == held
    anew = run.replace(objective=defined(3.0))
    assert OBJECTIVES.get("own") is type(anew.objective) is not type(held.objective)
    assert held.override(["objective=own"]).objective.factor == 1.0


def test_other_processes_cannot_have_a_class_of_this_session(run, tmp_path, monkeypatch):
    monkeypatch.setattr("unforced.provenance.file_of", lambda cls: None)
    study = Study("own", "our own", {"one": run.replace(objective=defined(1.0))})
    with pytest.raises(
        UserError, match="objective 'own' is defined in this session alone; put it into a file"
    ):
        StudyFolder(tmp_path / "study").check(study)


def test_two_classes_of_one_name_are_refused(run):
    class Other(NextToken):
        name: Literal["own"] = "own"

    run.replace(objective=defined(2.0))
    with pytest.raises(
        UserError, match=r"objective 'own' is there twice: __main__:Own of .*test_plugins.*Other of"
    ):
        run.replace(objective=Other())


def test_only_parts_can_be_added():
    with unchecked():
        for cls, mistake in [
            (int, "int is not a task"),
            (Part, "Part is not a task"),
            (NextToken, "not a task"),
        ]:
            with pytest.raises(UserError, match=mistake):
                TASKS.add(cls)
