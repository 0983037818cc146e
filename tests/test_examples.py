"""The examples: short, true to their contracts, loaded by path and as plug-ins."""

import json
import shutil
from pathlib import Path

import pytest

from examples.model_gru import Gru
from examples.model_transformers import Llama
from examples.objective import Blend
from examples.objective_with_heads import OneFurther
from examples.own_task import Sorting
from tests.documents import blocks
from tests.runs import tiny_run, train, unchecked
from unforced.plugins import load_file
from unforced.registry import DECODERS, MODELS, OBJECTIVES, TASKS
from unforced.testing import check_model, check_objective, check_task

FOLDER = Path(__file__).parent.parent / "examples"
FILES = {
    "objective.py": ("objective", Blend()),
    "objective_with_heads.py": ("objective", OneFurther()),
    "own_task.py": ("task", Sorting()),
    "model_gru.py": ("model", Gru(width=16)),
    "model_transformers.py": ("model", Llama(width=16)),
}
CHECKS = {"task": check_task, "objective": check_objective, "model": check_model}


@pytest.mark.parametrize(("file", "kind", "part"), [(file, *part) for file, part in FILES.items()], ids=FILES)
def test_an_example_keeps_to_its_contract_in_less_than_sixty_lines(file, kind, part):
    with unchecked():
        CHECKS[kind](part)
    lines = (FOLDER / file).read_text().splitlines()
    assert len([line for line in lines if line.strip()]) < 60


def test_objectives_work_with_the_models():
    with unchecked():
        check_objective(Blend(), model=Gru(width=16))
        check_objective(OneFurther(), model=Llama(width=16))


def test_the_guide_shows_the_examples_as_they_are():
    shown = [block.text for block in blocks(FOLDER.parent / "docs" / "extending.md")]
    for file in FILES:
        source = (FOLDER / file).read_text().split('"""', 2)[2].strip()
        assert any(source in text for text in shown), file


def test_every_python_file_in_the_folder_is_tested():
    assert {file.name for file in FOLDER.glob("*.py")} == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_an_example_trains_by_its_path(file, call, tmp_path):
    kind, part = FILES[file]
    few = ["max_steps=2", "evaluate_every=2", "num_test=20", "num_evaluate=20", "batch_size=16"]
    few += ["model.width=16"] if kind != "objective" else ["model.width=16", "model.heads=2"]
    code, _, errors = call("train", f"{FOLDER / file}:recipe", *few, "--out", tmp_path / "run")
    assert code == 0, errors
    (record,) = json.loads((tmp_path / "run" / "parts.json").read_text())
    assert (record["kind"], record["name"], record["file"]) == (kind, part.name, str(FOLDER / file))
    assert call("evaluate", tmp_path / "run", "--count", "20")[0] == 0


def test_an_objective_of_a_file_is_part_of_a_study_and_of_its_report(call, tmp_path, without_figures):
    few = ["max_steps=2", "evaluate_every=2", "num_test=1600", "num_evaluate=20", "model.width=16"]
    study, out = f"{FOLDER / 'objective_with_heads.py'}:comparison", tmp_path / "study"
    code, _, errors = call("study", study, *few, "--only", "*-0", "--out", out)
    assert code == 0, errors
    assert call("report", out, "--to", tmp_path / "report")[0] == 0
    table = (tmp_path / "report" / "tables" / "accuracy.md").read_text()
    assert "| one_further" in table
    assert "| next_token" in table


def test_examples_are_plug_ins_by_their_entry_points(call, tmp_path, monkeypatch):
    info = tmp_path / "own_parts-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.2\n")
    groups = {
        f"unforced.{kind}s": [
            f"{part.name} = examples.{Path(file).stem}:{type(part).__name__}"
            for file, (of, part) in FILES.items()
            if of == kind
        ]
        for kind in CHECKS
    }
    sections = ["\n".join([f"[{group}]", *lines]) for group, lines in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(sections))
    monkeypatch.syspath_prepend(tmp_path)
    with TASKS.holding(), MODELS.holding(), OBJECTIVES.holding(), DECODERS.holding():
        names = json.loads(call("list", "--json")[1])
        assert all(part.name in names[f"{kind}s"] for kind, part in FILES.values())
        few = ["max_steps=2", "evaluate_every=2", "objective=blend", "task=sorting"]
        train(tiny_run(*few), tmp_path / "run")
        records = json.loads((tmp_path / "run" / "parts.json").read_text())
        assert json.loads((tmp_path / "run" / "env.json").read_text())["parts"] == records
        assert [record["name"] for record in records] == ["sorting", "blend"]
        assert {(each["distribution"], each["version"]) for each in records} == {("own-parts", "1.2")}
        assert load_file(FOLDER / "objective.py").names == ("blend",)
    shutil.rmtree(info)
    with TASKS.holding(), OBJECTIVES.holding():
        code, _, errors = call("evaluate", tmp_path / "run")
    assert code == 2
    assert "'sorting' came from own-parts 1.2, which is not installed here; install own-parts" in errors
