"""What is new of a model's answers, from the run to its diagnosis, report and tables."""

import json
import re
import shutil
from pathlib import Path

import pytest

import unforced as uf
from tests.runs import Silent, tiny_run, train
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.evaluation.outcomes import compare_groups
from unforced.expectations import Expectation
from unforced.experiment import diagnose_run, load_run
from unforced.reporting.expectations_table import _values
from unforced.reporting.outcomes import show_groups
from unforced.reporting.page.data import describe
from unforced.reporting.progress import accuracies
from unforced.reporting.report import write_report
from unforced.reporting.report_figures.solved import solved_by
from unforced.reporting.report_figures.success import success as seeds_solved
from unforced.reporting.report_tables.outcomes import success
from unforced.reporting.tables import accuracy_table, error_table, set_table
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import group_runs
from unforced.runs.index import read_finished
from unforced.training.source import split_problems


@pytest.fixture(scope="module")
def folder(tmp_path_factory, trained):
    """A run that has learnt some of a small family tree."""
    path = tmp_path_factory.mktemp("runs") / "sibling"
    small = ["task=sibling", "task.parents=2", "task.children=6", "task.seed_length=2", "num_train=40"]
    trained(tiny_run(*small, "max_steps=120", "evaluate_every=60", "num_test=1600"), path)
    return path


def test_a_result_counts_what_sets_of_texts_say_is_new(folder):
    loaded = load_run(folder)
    run = loaded.run
    evaluator = Evaluator.of(run, loaded.train_module)
    some = split_problems(run, "test", run.num_test)
    said = run.task.text.answers(answers(evaluator, some, evaluator.free))
    trained = set(run.task.text.answers(run.task.answers(split_problems(run, "train", 40))))
    children = {
        f"{side}{n - 2 - 12 * i}": a
        for i, side in enumerate("bc")
        for a in (0, 1)
        for n in run.task.pools[i][a]
    }
    coherent = [text for text in said if _is_coherent(text.split(), children)]
    result = json.loads((folder / "result.json").read_text())
    found = {name: result[f"test.free.{name}"] for name in ("creative", "coherent", "original", "unique")}
    assert {name: (each["correct"], each["total"]) for name, each in found.items()} == {
        "creative": (len(set(coherent) - trained), 1600),
        "coherent": (len(coherent), 1600),
        "original": (sum(text not in trained for text in coherent), len(coherent)),
        "unique": (len(set(coherent)), len(coherent)),
    }
    assert 0 < found["creative"]["low"] < found["creative"]["value"] < found["creative"]["high"]
    assert result["test.free.exact"]["correct"] == len(coherent)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all("validation.free.creative" in line for line in lines)


def _is_coherent(words, children):
    left, right, parent = words
    sides = left.startswith("b") and right.startswith("c")
    return sides and f"a{children[left]}" == f"a{children[right]}" == parent


def test_a_diagnosis_says_why_answers_do_not_count(folder):
    found = diagnose_run(folder, None, 0.95)
    new = found["creativity"]
    assert sum(new["answers"].values()) == 1600
    assert new["creative"]["correct"] == new["answers"]["creative"]
    assert new["by_heart"]["total"] == 40
    assert found["verdict"]["name"] in ("incoherent", "memorised", "repeated")
    for section in ("clever_hans", "indecipherable_token", "probability", "grokking"):
        assert found[section]["does_not_apply"].startswith("every coherent answer to sibling(2,6)")
    assert "several right answers" in found["snowball"]["does_not_apply"]
    for section in (found["learned"], found["exact"]["as_trained"]):
        assert section["does_not_apply"].startswith("every coherent answer to sibling(2,6)")
    kinds = found["error_kinds"]
    assert "correct" not in kinds
    assert kinds["coherent"] == new["coherent"]["correct"]
    text = str(uf.load(folder).diagnose())
    assert "Creativity" in text
    assert "by heart" in text


def test_reports_and_notebooks_show_it(folder, tmp_path, in_svg_alone):
    write_report([folder], tmp_path)
    table = (tmp_path / "tables" / "creativity.md").read_text()
    assert "creative" in table
    assert "1,600" in table
    assert (tmp_path / "figures" / "creativity.svg").stat().st_size > 5000
    result = uf.load(folder).result
    shown = set_table(result)
    assert list(shown.columns) == ["creative", "coherent", "original", "unique"]
    assert "held-out, free" in shown.index
    assert accuracy_table(result, None).empty
    assert "coherent" in error_table(result).index
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert re.fullmatch(
        r"train coherent [\d.]+%  validation coherent [\d.]+% creative [\d.]+%", accuracies(line)
    )
    assert "answers as a set" in uf.load(folder)._repr_html_()


def test_a_model_that_recites_its_training_set_is_not_solved(folder, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "run")
    recited = json.loads((copy / "result.json").read_text())
    for key in ("test.free.exact", "test.free.coherent"):
        recited[key] |= {"correct": 1600, "value": 1.0, "low": 0.99, "high": 1.0}
    (copy / "result.json").write_text(json.dumps(recited))
    (group,) = group_runs([read_finished(copy)])
    assert success([group], []) is None
    assert seeds_solved([group]) == solved_by([group]) == {}
    data = describe([group], [], [], [], [])
    assert (data["groups"][0]["solved"], data["runs"][0]["solved"]) == (None, False)
    assert data["groups"][0]["creative"]["median"] == pytest.approx(
        recited["test.free.creative"]["value"], abs=1e-4
    )
    summary = compare_groups([group])
    assert summary["groups"][group.label]["success"]["correct"] == 0
    show_groups({**summary, "skipped": {}, "duplicates": {}})
    assert "open-ended, by free.creative" in capsys.readouterr().out


def run_of(name, seed, value):
    tree = {"objective": {"name": name}, "seed": seed}
    return FinishedRun(f"{name}-{seed}", Path(), tree, {"test.free.creative": {"value": value}}, [], None, {})


def test_an_expectation_may_be_a_difference_over_the_same_seeds():
    claim = Expectation(
        group="masked",
        select={"objective.name": "masked"},
        measure="test.free.creative",
        against={"objective.name": "next_token"},
        against_group="next_token",
        relation="at_least",
        value=0.0,
        source="a paper",
    )
    runs = [run_of("masked", seed, value) for seed, value in enumerate((0.5, 0.25, 0.75))]
    runs += [run_of("next_token", seed, value) for seed, value in ((2, 0.5), (0, 0.75), (4, 0.0))]
    assert _values(claim, runs) == [-0.25, 0.25]
    assert not claim.selects(runs[-1].tree)


@pytest.mark.parametrize("temperature", [0, 1])
def test_equal_prompts_with_one_answer_to_all_are_told(tmp_path, temperature):
    small = ["task=sibling", "task.seed_length=0", "num_train=40"]
    steps = ["max_steps=1", "num_test=5", "num_evaluate=5", "decoder=autoregressive"]
    observer = Silent()
    train(tiny_run(*small, *steps, f"decoder.temperature={temperature}"), tmp_path / "run", observer=observer)
    told = [line for line in observer.news if "writes the same answer to each: sample" in line]
    assert len(told) == 1 - temperature
