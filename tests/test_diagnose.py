"""`unforced diagnose` and `unforced compare`, on runs that train in a second."""

import json
import shutil
from pathlib import Path

import pytest

from tests.runs import tiny_run, train
from unforced.errors import TransientError
from unforced.evaluation.glossary import DEFINITIONS, RARER, SECTIONS, definition, metrics_page
from unforced.experiment import diagnose_run
from unforced.reporting.diagnosis import rows_of
from unforced.reporting.load import collect_runs

ROOT = Path(__file__).parent.parent
ENOUGH = "num_test=1600"
TASKS = {
    "path_star": [],
    "branching_path": ["task=branching_path", "task.num_nodes=14", "task.path_length=4", "task.forks=[0,1]"],
    "addition": ["task=addition", "task.num_digits=3"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, trained):
    """Finished runs of each task, objective and order, and two more seeds of one."""
    folder = tmp_path_factory.mktemp("runs")
    for task, overrides in TASKS.items():
        for objective in ("next_token", "teacherless"):
            trained(tiny_run(f"objective={objective}", *overrides, ENOUGH), folder / f"{task}-{objective}")
    trained(tiny_run("order=reversed", ENOUGH), folder / "path_star-reversed")
    return folder


KINDS = [f"{task}-{objective}" for task in TASKS for objective in ("next_token", "teacherless")]


@pytest.mark.parametrize("name", [*KINDS, "path_star-reversed"])
def test_every_task_objective_and_order_is_diagnosed_and_every_number_defined(runs, call, name):
    code, output, _ = call("diagnose", runs / name, "--json")
    assert code == 0
    found = json.loads(output)
    assert found == json.loads((runs / name / "diagnosis.json").read_text())
    assert found["verdict"]["name"] == "not_yet_fitted"  # 40 steps
    assert set(SECTIONS) - set(RARER) < set(found)
    result = json.loads((runs / name / "result.json").read_text())
    assert found["exact"]["test"]["correct"] == pytest.approx(result["test.free.exact"]["correct"], abs=3)
    assert found["problems"] == {"train": 300, "test": 1600}
    for section in SECTIONS.keys() & found.keys():
        for path, value in rows_of(section, found[section]):
            assert value.startswith("does not apply") or definition(path), path


def test_the_terminal_shows_the_verdict_first_and_explains_on_request(runs, call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    _, short, _ = call("diagnose", runs / "path_star-next_token")
    _, long, _ = call("diagnose", runs / "path_star-next_token", "--explain")
    assert short.splitlines()[0].endswith("path_star-next_token: not yet fitted")
    assert all((title in short) == (section not in RARER) for section, title in SECTIONS.items())
    assert "signature of the cheat" not in short
    assert "signature of the cheat" in " ".join(long.split())


def test_the_glossary_page_is_up_to_date():
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics_page()


def test_every_definition_belongs_to_a_section():
    assert {key.partition(".")[0] for key in DEFINITIONS} == set(SECTIONS)


def one_line(call, *arguments):
    code, output, errors = call(*arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1), (output, errors)
    return errors


def test_a_run_that_never_finished_is_one_line(tmp_path, call, trained):
    trained(tiny_run(), tmp_path / "run", stopped_at=20)
    line = one_line(call, "diagnose", tmp_path / "run")
    assert "has not finished: it has no result.json" in line
    assert f"unforced evaluate {tmp_path / 'run'}" in line
    assert not (tmp_path / "run" / "diagnosis.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--count", "100"], "100 held-out problems are too few for a verdict at confidence 0.95"),
        (["--confidence", "0.999"], "1600 held-out problems are too few for a verdict at confidence 0.999"),
        (["--confidence", "95"], "--confidence: 95 is not above 0.5 and below 1"),
    ],
)
def test_too_little_for_a_verdict_is_one_line(runs, call, arguments, says):
    assert says in one_line(call, "diagnose", runs / "path_star-next_token", *arguments)


def test_a_run_whose_last_checkpoint_is_damaged_is_not_diagnosed_from_another(tmp_path, call):
    train(tiny_run("keep_checkpoints=3", ENOUGH), tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "step-00000040" / "learner.safetensors").write_bytes(b"short")
    line = one_line(call, "diagnose", tmp_path / "run")
    assert "was trained for 40 steps, but its newest usable checkpoint is of step 30" in line
    code, _, errors = call("evaluate", tmp_path / "run", "--json")
    assert code == 0
    assert "measuring step 30" in errors


def test_a_diagnosis_that_cannot_be_written_is_shown(runs, call, monkeypatch):
    folder = runs / "path_star-next_token"

    def read_only(path, value, indent=1):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("unforced.experiment.write_json", read_only)
    code, output, errors = call("diagnose", folder)
    assert (code, output.startswith(f"{folder}: ")) == (0, True)
    assert errors == (
        f"unforced: the diagnosis was not written to {folder / 'diagnosis.json'}: Permission denied\n"
    )
    with pytest.raises(TransientError, match="Permission denied"):  # a study wants it written
        diagnose_run(folder, None, 0.95)


def test_a_run_without_its_history_is_diagnosed_all_the_same(tmp_path, call, trained):
    trained(tiny_run(ENOUGH), tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    code, output, _ = call("diagnose", tmp_path / "run")
    assert code == 0
    assert "no evaluations" in " ".join(output.split())


def test_a_damaged_run_among_others_is_left_out(tmp_path, call, trained):
    trained(tiny_run(), tmp_path / "good")
    trained(tiny_run("seed=1"), tmp_path / "bad")
    (tmp_path / "bad" / "config.json").write_text("{")
    code, output, _ = call("compare", tmp_path, "--json")
    found = json.loads(output)
    assert code == 0
    assert found["groups"]["G(2,3), gpt, next_token"]["seeds"] == [0]
    assert "not JSON" in found["skipped"][str(tmp_path / "bad")]


def test_no_run_folder_is_one_line(tmp_path, call):
    assert "no such run folder" in one_line(call, "diagnose", tmp_path / "nothing")
    assert "no such folder" in one_line(call, "compare", tmp_path / "nothing")
    assert "no run in" in one_line(call, "compare", tmp_path)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory, trained):
    folder = tmp_path_factory.mktemp("seeds")
    for seed in range(3):
        for objective in ("next_token", "teacherless"):
            trained(tiny_run(f"seed={seed}", f"objective={objective}"), folder / f"{objective}-{seed}")
    trained(tiny_run("seed=3"), folder / "stopped", stopped_at=20)
    return folder


def test_runs_that_differ_in_their_seed_are_summarised_and_compared(seeds, call):
    _, output, _ = call("compare", seeds, "--json")
    found = json.loads(output)
    assert set(found["groups"]) == {"G(2,3), gpt, next_token", "G(2,3), gpt, teacherless"}
    for name, group in found["groups"].items():
        kind = name.removeprefix("G(2,3), gpt, ")
        values = [
            json.loads((seeds / f"{kind}-{seed}" / "result.json").read_text())["test.free.exact"]["value"]
            for seed in range(3)
        ]
        assert group["accuracy"] == {"median": sorted(values)[1], "low": min(values), "high": max(values)}
        assert group["success"]["total"] == 3
        assert group["steps_to_solve"]["horizon"] == 40
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"]) == ("G(2,3), gpt, next_token", "G(2,3), gpt, teacherless")
    assert pair["seeds"] == [0, 1, 2]
    assert found["skipped"] == {str(seeds / "stopped"): "not finished"}


def test_the_table_of_seeds_says_what_was_left_out(seeds, call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, output, _ = call("compare", seeds)
    assert "0 of 3" in output
    assert "stopped: not finished" in output
    assert "A  G(2,3), gpt, next_token" in output
    assert "A - B" in output
    assert "…" not in output
    assert max(map(len, output.splitlines()[:12])) <= 80


def test_another_measure_may_be_the_outcome(seeds, call):
    _, output, _ = call("compare", seeds, "--measure", "forced.token_1", "--json")
    (low, high) = (
        json.loads(output)["groups"]["G(2,3), gpt, next_token"]["accuracy"][key] for key in ("low", "high")
    )
    results = [json.loads((seeds / f"next_token-{seed}" / "result.json").read_text()) for seed in range(3)]
    values = [result["test.forced.token_1"]["value"] for result in results]
    assert (low, high) == (min(values), max(values))
    assert "unknown measure 'forced.tokn_1'" in one_line(call, "compare", seeds, "--measure", "forced.tokn_1")


def test_seeds_and_report_find_the_same_runs(seeds, tmp_path, call):
    tree = shutil.copytree(seeds, tmp_path / "tree")
    shutil.copytree(tree / "next_token-0", tree / "twin")
    (tree / "exported").mkdir()
    for name in ("config.json", "unforced.json"):
        (tree / "exported" / name).write_text("{}")
    (tree / "next_token-1" / "config.json").unlink()
    (tree / "teacherless-1" / "metrics.jsonl").write_text('{"step": 0}\n')
    code, output, _ = call("compare", tree, tree / "twin", "--json")
    found = json.loads(output)
    assert code == 0
    assert {name: group["seeds"] for name, group in found["groups"].items()} == {
        "G(2,3), gpt, next_token": [0, 2],
        "G(2,3), gpt, teacherless": [0, 2],
    }
    assert set(found["skipped"]) == {
        str(tree / name) for name in ("next_token-1", "stopped", "teacherless-1")
    }
    assert found["duplicates"] == {str(tree / "twin"): str(tree / "next_token-0")}
    reported = collect_runs([tree, tree / "twin"])
    assert [each.name for each in reported.runs] == [
        f"{kind}-{seed}" for kind in ("next_token", "teacherless") for seed in (0, 2)
    ]
    assert list(reported.skipped) == list(found["skipped"])
    assert {str(twin): str(first) for twin, first in reported.duplicates.items()} == found["duplicates"]


def test_a_run_that_two_folders_hold_counts_once_and_it_is_said(tmp_path, call, trained):
    trained(tiny_run(), tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    code, output, _ = call("compare", tmp_path)
    assert code == 0
    assert "0 of 1" in output
    assert f"duplicate: {tmp_path / 'b'} is the same run as {tmp_path / 'a'}" in output
