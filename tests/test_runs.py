"""Finished runs of other versions, machines and packages, reported from their files alone."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from tests.runs import tiny_run
from unforced.evaluation.outcomes import compare_groups
from unforced.evaluation.statistics import proportion
from unforced.reporting.page import write_page
from unforced.reporting.report import write_report
from unforced.runs.folder import RunFolder
from unforced.runs.groups import group_runs
from unforced.runs.index import find_finished

KINDS = {"next_token": [], "teacherless": ["objective=teacherless"]}
NUM_SEEDS = 3
WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "accelerate"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
from unforced.cli.main import main
main(sys.argv[1:])
"""


def write_run(path, *overrides, right=40, result=(), environment=()):
    """Write the folder of a finished run, with `right` of 100 answers right from the second evaluation on."""
    run = tiny_run(*overrides)
    path.mkdir(parents=True)
    measures = ["exact", *(f"token_{i}" for i in range(run.task.answer_length))]
    keys = [f"{{}}.{mode}.{measure}" for mode in ("free", "forced") for measure in measures]

    def line(step, correct):
        counts = {
            key.format(split): {"correct": correct, "total": 100}
            for split in ("train", "validation")
            for key in keys
        }
        facts = {"step": step, "samples": step * 32, "loss": 1.0, "samples_per_second": 1.0}
        return json.dumps(facts | counts)

    shares = {
        key.format(split): proportion(right, 100) for split in ("train", "validation", "test") for key in keys
    }
    ended = {"run": run.fingerprint, "ended_by": "steps", "steps": 40, "samples": 1280, "seconds": 1.0}
    ended |= {"flops": 1e6, "chance": 0.5, "test.free.errors": {"correct": right, "wrong_arm": 100 - right}}
    kernels = {"implementation": {"attention": "sdpa"}, "autocast_dtype": "float32"}
    save(path / "config.json", run.tree())
    save(path / "env.json", kernels | dict(environment))
    save(path / "result.json", ended | shares | dict(result))
    (path / "metrics.jsonl").write_text(
        "".join(f"{line(step, step and right)}\n" for step in (0, 10, 20, 40))
    )
    return path


def save(file, value):
    file.write_text(json.dumps(value))


def change(file, **changes):
    save(file, json.loads(file.read_text()) | changes)


@pytest.fixture
def folder(tmp_path):
    for kind, overrides in KINDS.items():
        for seed in range(NUM_SEEDS):
            write_run(tmp_path / "runs" / f"{kind}-{seed}", *overrides, f"seed={seed}")
    return tmp_path / "runs"


def groups(folder):
    return {group.configuration: group for group in group_runs(find_finished([folder]).runs)}


def cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] or [line] for line in text.splitlines() if line]


def table(folder, name):
    """The rows of a table of a report by their kind, and its note."""
    header, _, *rows = cells((folder / "tables" / f"{name}.md").read_text())
    note = rows.pop()[0]
    return {row[header.index("configuration")]: dict(zip(header, row, strict=True)) for row in rows}, note


@pytest.mark.parametrize("verb", ["report", "compare"])
def test_reports_and_comparisons_need_no_torch(folder, verb):
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, verb, str(folder), "--json"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)["groups"]
    assert len(found) == len(KINDS)


def test_a_run_of_a_part_that_is_unknown_here_is_reported(folder, tmp_path, in_svg_alone):
    for seed in range(NUM_SEEDS):
        config = folder / f"teacherless-{seed}" / "config.json"
        change(config, task={"name": "maze", "size": 5}, objective={"name": "unheard_of", "weight": 0.5})
    summary = write_report([folder], tmp_path / "out")
    assert summary["skipped"] == {}
    (unheard,) = (group for group in summary["groups"] if group["objective"] == "unheard_of")
    assert (unheard["topology"], unheard["seeds"]) == ("maze", [0, 1, 2])
    assert table(tmp_path / "out", "accuracy")[0]["unheard_of"]["topology"] == "maze"


def test_seeds_that_ran_on_different_kernels_are_marked(folder, tmp_path, without_figures):
    assert [group.mixed_kernels for group in groups(folder).values()] == ["", ""]
    change(folder / "next_token-1" / "result.json", implementation={"attention": "math"})
    change(folder / "next_token-2" / "env.json", autocast_dtype="bfloat16")
    (folder / "teacherless-1" / "env.json").unlink()  # what it ran on is unknown, which is no difference
    words = "attention: sdpa 2, math 1; autocast dtype: float32 2, bfloat16 1"
    found = groups(folder)
    assert (found["next_token"].mixed_kernels, found["teacherless"].mixed_kernels) == (words, "")
    write_report([folder], tmp_path / "out")
    for name in ("accuracy", "success"):
        rows, note = table(tmp_path / "out", name)
        assert (rows["next_token"]["kernels"], rows["teacherless"]["kernels"]) == (words, "")
        assert "ran on different implementations or autocast dtypes" in note
    runs = pd.read_csv(tmp_path / "out" / "runs.csv").groupby("run")["kernels"].first()
    assert runs["next_token-2"] == "attention=sdpa; autocast dtype=bfloat16"
    assert words in (tmp_path / "out" / "index.html").read_text()
    summary = compare_groups(list(found.values()), "free.exact")
    assert summary["groups"]["G(2,3), gpt, next_token"]["kernels"] == words


def test_a_seed_that_diverged_counts_as_failed_whatever_its_accuracy(tmp_path, in_svg_alone):
    for seed in range(NUM_SEEDS):
        write_run(tmp_path / "runs" / str(seed), f"seed={seed}", right=100)
    change(tmp_path / "runs" / "1" / "result.json", ended_by="diverged", steps=20)
    (group,) = groups(tmp_path / "runs").values()
    summary = compare_groups([group], "free.exact")["groups"][group.label]
    assert (summary["success"]["correct"], summary["success"]["total"]) == (2, 3)
    assert summary["steps_to_solve"]["solved"] == 2
    assert summary["steps_to_solve"]["restricted_mean"] == pytest.approx((10 + 10 + 20) / 3)
    assert summary["failures"] == "1 diverged"
    write_report([tmp_path / "runs"], tmp_path / "out")
    rows, note = table(tmp_path / "out", "success")
    assert (rows["next_token"]["solved"], rows["next_token"]["failed"]) == ("2 of 3", "1 diverged")
    assert "count as not solved" in note
    assert '"failures":"1 diverged"' in (tmp_path / "out" / "index.html").read_text()
    assert set(pd.read_csv(tmp_path / "out" / "runs.csv")["ended_by"]) == {"steps", "diverged"}


def test_a_chance_that_is_unknown_is_called_so(tmp_path, in_svg_alone):
    for seed in range(2):
        write_run(tmp_path / "runs" / str(seed), f"seed={seed}", result={"chance": None})
    write_report([tmp_path / "runs"], tmp_path / "out")
    rows, _ = table(tmp_path / "out", "accuracy")
    assert rows["next_token"]["chance"] == "unknown"
    curves = (tmp_path / "out" / "figures" / "accuracy.svg").read_text()
    assert "chance" not in curves
    assert write_page(list(groups(tmp_path / "runs").values()), tmp_path / "page.html")
    assert '"chance":null' in (tmp_path / "page.html").read_text()


def test_a_position_that_no_answer_reaches_has_no_accuracy(tmp_path, in_svg_alone):
    path = write_run(tmp_path / "runs" / "0")
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    lines[1]["validation.free.token_2"] = {"correct": 0, "total": 0}
    del lines[2]["validation.free.token_2"]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    write_report([tmp_path / "runs"], tmp_path / "out")
    assert '"token_2":[0.0,null,null,0.4]' in (tmp_path / "out" / "index.html").read_text()


def test_a_long_answer_that_only_some_test_sets_hold_is_reported(folder, in_svg_alone):
    result = json.loads((folder / "next_token-0" / "result.json").read_text())
    for mode in ("free", "forced"):
        del result[f"test.{mode}.token_2"]
    save(folder / "next_token-0" / "result.json", result)
    write_report([folder], folder.parent / "out")
    assert '"forced_tokens":[0.4,0.4,0.4]' in (folder.parent / "out" / "index.html").read_text()
    runs = groups(folder)["next_token"].runs
    assert [each.length for each in runs] == [2, 3, 3]
    for mode in ("free", "forced"):
        del result[f"test.{mode}.token_0"]
    save(folder / "next_token-0" / "result.json", result)
    assert groups(folder)["next_token"].runs[0].length == 2


def test_a_field_that_came_later_makes_no_kind_of_its_own(folder):
    config = json.loads((folder / "next_token-1" / "config.json").read_text())
    del config["clip_norm"], config["model"]["activation"]
    save(folder / "next_token-1" / "config.json", config)
    assert groups(folder)["next_token"].seeds == [0, 1, 2]
    change(folder / "next_token-0" / "config.json", clip_norm=2.0)
    assert {kind: group.seeds for kind, group in groups(folder).items()} == {
        "next_token, clip norm 1.0": [1, 2],
        "next_token, clip norm 2.0": [0],
        "teacherless": [0, 1, 2],
    }


def test_a_question_that_was_recorded_as_a_line_has_its_prompt_and_its_answer(folder):
    question = {"line": "1,2/1,2=1,2", "drawing": {}, "decisive": [1], "true": ["1", "2"], "free": ["1", "1"]}
    question |= {"verdict": "wrong_arm", "chances": {"free": [[["1", 0.9]], [["1", 0.8]]]}}
    file = folder / "next_token-0" / "traces.json"
    save(file, {"order": "forward", "reads_answers": True, "problems": [[question]]})
    ((found,),) = RunFolder(file.parent).read_traces()["problems"]
    assert (found["prompt"], found["answer"]) == ("1,2/1,2=", "1,2")
