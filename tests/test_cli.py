"""The command line: what it prints, and the one line for each mistake."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer

import unforced
from tests.runs import stop_at, tiny_run, train
from unforced.cli.former_names import with_present_verb
from unforced.cli.main import main
from unforced.cli.options import as_command
from unforced.config import assignments
from unforced.recipes import resolve_run
from unforced.registry import OBJECTIVES
from unforced.studies.runner import Summary
from unforced.training.loop import Outcome


@pytest.fixture
def mistake(call):
    """Call with a mistake; return the one line that it prints."""

    def mistake(*arguments):
        code, output, errors = call(*arguments)
        assert code == 2
        assert output == ""
        assert errors.count("\n") == 1, errors
        assert "Traceback" not in errors
        return errors.removeprefix("unforced: ").rstrip("\n")

    return mistake


@pytest.fixture(scope="module")
def finished(tmp_path_factory, trained):
    return trained(tiny_run(), tmp_path_factory.mktemp("finished") / "run")


RECIPE_MISTAKES = {
    ("own_data",): (
        "own_data: it is a task, and a recipe is asked for: small_own_data, or RECIPE task=own_data "
        "(`unforced list recipes`)"
    ),
    ("runs/gone",): "runs/gone: no such run folder (it has no config.json), and no such recipe",
    ("quickstart.next_tokn",): "unknown recipe 'quickstart.next_tokn'; did you mean 'quickstart.next_token'?",
    ("quickstart",): (
        "recipe 'quickstart' is 3 runs; name one: "
        "quickstart.next_token, quickstart.reversed, quickstart.teacherless"
    ),
    ("quickstart.next_token", "task.degre=3"): "task.degre: unknown key 'degre'; did you mean 'degree'?",
    ("quickstart.next_token", "tsk.degree=3"): "tsk.degree: unknown key 'tsk'; did you mean 'task'?",
    ("quickstart.next_token", "task.degree=two"): 'task.degree: input should be a valid integer, not "two"',
    ("quickstart.next_token", "seed=1.5"): "seed: input should be a valid integer, not 1.5",
    ("quickstart.next_token", "learning_rate=-1"): "learning_rate: input should be greater than 0, not -1",
    ("quickstart.next_token", "order=backward"): (
        "order: input should be 'forward' or 'reversed', not \"backward\""
    ),
    ("quickstart.next_token", "objective=teacherles"): (
        "unknown objective 'teacherles'; did you mean 'teacherless'?"
    ),
    ("quickstart.next_token", "degree"): (
        "'degree' is not an override; write dotted.key=value, as in seed=3"
    ),
    ("quickstart.next_token", "task.num_nodes=5"): (
        "task.num_nodes: a graph of degree 2 and path_length 4 has 7 nodes, more than num_nodes 5; "
        "use num_nodes=7 or more"
    ),
    ("quickstart.next_token", "model.heads=3"): "model.heads: 3 heads do not divide width 64",
    ("quickstart.next_token", "stream=false"): "num_train: give the size of the training set, or stream=true",
    ("quickstart.next_token", "max_steps=null"): (
        "max_steps: a stream never ends by itself; give max_steps=STEPS"
    ),
    ("quickstart.next_token", "gradient_accumulation=3"): (
        "gradient_accumulation: 3 does not divide batch_size 64"
    ),
    ("no/such/config.json",): "no/such/config.json: No such file or directory",
}


@pytest.mark.parametrize("verb", ["train", "show"])
def test_a_mistaken_recipe_is_one_line(mistake, tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    for arguments, line in RECIPE_MISTAKES.items():
        if (verb, arguments) != ("show", ("quickstart",)):  # it explains all three runs
            assert mistake(verb, *arguments) == line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_verb_or_option_is_one_line(mistake):
    assert mistake("trian") == "No such command 'trian'. Did you mean 'train'?"
    assert mistake("train", "quickstart.next_token", "--ot", "x").startswith("No such option: --ot")
    assert mistake("train") == "Missing argument 'recipe'."
    assert mistake("list", "task") == "unknown kind 'task'; did you mean 'tasks'?"


def test_a_task_too_small_for_its_splits_is_one_line(mistake, tmp_path):
    tiny = ["task.degree=1", "task.path_length=2", "task.num_nodes=2"]
    line = mistake("train", "quickstart.next_token", *tiny, "--out", tmp_path / "run")
    assert line.startswith("task: path-star G(1,2) with 2 labels has too few problems")
    assert "split" in line


def test_a_folder_that_holds_this_run_already(mistake, finished, tmp_path):
    config = finished / "config.json"
    before = sorted(path.stat().st_mtime_ns for path in finished.rglob("*"))
    line = mistake("train", config, "--out", finished)
    assert line == f"{finished} holds this run already; add --resume to continue it"
    line = mistake("train", finished, "seed=1", "--out", finished)
    assert line == f"{finished} holds another run already; choose another --out"
    assert sorted(path.stat().st_mtime_ns for path in finished.rglob("*")) == before


def test_a_resumed_run_cannot_be_changed(mistake, finished):
    line = mistake(
        "train", finished / "config.json", "model.width=32", "seed=1", "--out", finished, "--resume"
    )
    assert line == (
        f"{finished} cannot be resumed with model.width=32 (and 1 more): its run has model.width=16; "
        "drop the override, or start a new run with another --out"
    )


def test_a_resumed_run_may_checkpoint_more_often(call, tmp_path):
    train(tiny_run(), tmp_path / "run", observer=stop_at(10))
    config = tmp_path / "run" / "config.json"
    code, output, _ = call("train", config, "checkpoint_every=5", "--out", tmp_path / "run", "--resume")
    assert code == 0
    assert output.startswith(f"done: {tmp_path / 'run'} (40 steps)")


@pytest.mark.parametrize("verb", [["train", "quickstart.next_token", "--resume", "--out"], ["evaluate"]])
def test_a_folder_that_is_no_run(mistake, tmp_path, verb):
    (tmp_path / "notes.txt").write_text("mine")
    assert mistake(*verb, tmp_path / "absent") == f"{tmp_path / 'absent'}: no such run folder"
    assert mistake(*verb, tmp_path) == f"{tmp_path} is not a run folder: it has no config.json"


def test_a_folder_with_other_files_is_not_written_to(mistake, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    line = mistake("train", "quickstart.next_token", "--out", tmp_path)
    assert line == f"{tmp_path} exists and is not a run folder; choose another --out"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_half_written_run_folder(mistake, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"task": {"name": "path_st')
    assert mistake("evaluate", tmp_path).startswith(f"{config}: not JSON, or cut short: ")
    config.write_text('{"seed": 1}')
    assert (
        mistake("evaluate", tmp_path)
        == f"{config}: task: missing; restore it, or start a new run with another --out"
    )
    config.write_text(json.dumps(tiny_run().tree()))
    line = mistake("evaluate", tmp_path)
    assert line == f"{tmp_path} has no checkpoint yet; train it further with --resume"


def test_train_prints_its_result_as_json(call, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(tiny_run().tree()))
    code, output, _ = call("train", config, "max_steps=2", "--out", tmp_path / "run", "--json")
    assert code == 0
    result = json.loads(output)
    assert result == json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["samples"] == 64
    assert result["flops"] > 0
    assert set(result["test.free.exact"]) == {"value", "correct", "total", "low", "high"}


@pytest.fixture
def stopped(monkeypatch):
    """Let every training be stopped at once by SIGTERM; return the folders that they were given."""
    folders = []

    def stop(run, path, *others):
        folders.append(path)
        return Outcome("stopped", signal.SIGTERM)

    monkeypatch.setattr("unforced.experiment.run_experiment", stop)
    return folders


def test_the_default_folder_of_a_run_has_the_whole_name_of_its_recipe(call, stopped, tmp_path):
    config = tmp_path / "mine.of.today.json"
    config.write_text(json.dumps(tiny_run().tree()))
    for recipe, name in {"quickstart.reversed": "quickstart.reversed", config: "mine.of.today"}.items():
        assert call("train", recipe, "seed=3")[0] == 128 + signal.SIGTERM
        fingerprint = resolve_run(str(recipe), ["seed=3"]).fingerprint
        assert stopped[-1] == Path("runs") / f"{name}-{fingerprint[:8]}"


def test_a_stopped_run_says_so_once_and_not_where_json_is_awaited(call, stopped, monkeypatch):
    said = "stopped by SIGTERM; the checkpoint is in here, continue it with --resume\n"
    train = ("train", "quickstart.reversed", "--out", "here")
    assert call(*train) == (143, said, "")
    assert call(*train, "--json") == (143, "", said)
    monkeypatch.setenv("RANK", "1")
    assert call(*train) == call(*train, "--json") == (143, "", "")


def test_a_stopped_quickstart_prints_nothing_where_json_is_awaited(call, monkeypatch):
    monkeypatch.setattr("unforced.studies.runner.run_study", lambda *_, **__: Summary({}, signal.SIGTERM))
    said = "stopped by SIGTERM; checkpoints are in here, the same command continues from them\n"
    assert call("quickstart", "--out", "here") == (143, said, "")
    assert call("quickstart", "--out", "here", "--json") == (143, "", said)


def test_evaluate_gives_what_the_run_itself_found(call, finished):
    code, output, _ = call("evaluate", finished, "--json", "--split", "test", "--split", "train")
    assert code == 0
    evaluated, result = json.loads(output), json.loads((finished / "result.json").read_text())
    assert evaluated == {key: value for key, value in result.items() if key in evaluated}
    assert {"test.free.exact", "test.forced.token_1", "train.free.exact", "test.free.errors"} <= set(
        evaluated
    )


def test_evaluate_prints_forced_and_free_side_by_side(call, finished):
    code, output, _ = call("evaluate", finished, "--count", 20)
    assert code == 0
    for words in [
        "train, forced",
        "train, free",
        "held-out, forced",
        "held-out, free",
        "chance 50.0%",
        "wrong arm",
    ]:
        assert set(words.split()) <= set(output.split())


@pytest.mark.parametrize("splits", [["validation"], ["train", "validation"], ["test", "validation", "train"]])
def test_evaluate_prints_every_split_that_was_asked_for(call, finished, splits):
    code, output, _ = call("evaluate", finished, "--count", 20, *(f"--split={name}" for name in splits))
    assert code == 0
    for split, words in {"train": "train", "validation": "validation", "test": "held-out"}.items():
        rows = [f"{words}, forced", f"{words}, free"]
        assert [row in output for row in rows] == [split in splits] * 2
        assert output.count(rows[1]) == 2 * (split in splits)  # what is right, and the kinds of answers


@pytest.mark.parametrize("tree", ['"abc"', '["abc"]', "[]", "null"])
def test_a_config_that_is_no_object_is_one_line(mistake, tmp_path, tree):
    config = tmp_path / "config.json"
    config.write_text(tree)
    assert mistake("show", config) == f"{config}: not the config of a run"


def test_a_reversed_run_is_measured_on_its_own_export(call, tmp_path):
    train(tiny_run("order=reversed", "max_steps=2"), tmp_path / "run")
    for name in ("a.txt", "a.parquet"):
        call("data", "export", tmp_path / "run" / "config.json", "--split", "test", "--count", 60,
             "--out", tmp_path / name)  # fmt: skip
        code, output, _ = call("evaluate", tmp_path / "run", "--data", tmp_path / name, "--json")
        assert code == 0
        result = json.loads((tmp_path / "run" / "result.json").read_text())
        assert json.loads(output)["file.free.exact"] == result["test.free.exact"]


def test_evaluate_measures_on_a_file(call, mistake, finished, tmp_path):
    config, lines = finished / "config.json", tmp_path / "test.txt"
    call("data", "export", config, "--split", "test", "--count", 60, "--out", lines)
    _, output, _ = call("evaluate", finished, "--data", lines, "--json")
    result = json.loads((finished / "result.json").read_text())
    assert json.loads(output)["file.free.exact"] == result["test.free.exact"]
    lines.write_text("1,2|1,3/1,3=1,3\n")
    assert (
        mistake("evaluate", finished, "--data", lines) == f"{lines}: its problems have path_length=2, not 3"
    )
    assert mistake("evaluate", finished, "--split", "tst") == "unknown split 'tst'; did you mean 'test'?"


@pytest.mark.parametrize("verbs", [[], ["data"]])
def test_without_a_verb_there_is_help_and_no_stray_line(call, verbs):
    code, output, errors = call(*verbs)
    assert code == 2
    assert "Usage: unforced" in output
    assert errors == ""


def test_a_lack_of_memory_is_one_line(mistake, tmp_path, monkeypatch):
    def greedy(*arguments):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("unforced.training.source.block", greedy)
    line = mistake("data", "export", "quickstart.next_token", "--out", tmp_path / "a.txt")
    assert line == "out of memory: Unable to allocate 9 TiB"


def test_an_error_that_is_not_of_the_command_line_is_a_traceback(monkeypatch):
    class OddError(Exception):
        def format_message(self):
            return "odd"

    def fail(*arguments):
        raise OddError

    monkeypatch.setattr("unforced.recipes.resolve_run", fail)
    with pytest.raises(OddError):
        main(["train", "quickstart.next_token"])


def test_list_and_show_print_json(call):
    _, output, _ = call("list", "--json")
    names = json.loads(output)
    assert set(names) == {"tasks", "objectives", "heads", "decoders", "models", "recipes", "studies"}
    assert all(summary for kind in names.values() for summary in kind.values())
    _, output, _ = call("show", "paper_gpt_mini", "task.degree=5", "--json")
    assert json.loads(output)["task"] == {
        "name": "path_star", "degree": 5, "path_length": 5, "num_nodes": 50,
        "shortest": None, "lengths_vary": "by_graph",
        "query": "last", "shuffle": "edges", "edge_direction": "outward",
    }  # fmt: skip


def test_show_lists_the_runs_of_a_study_once_for_all_seeds(call):
    _, output, _ = call("show", "top_table5", "batch_size=64", "--json")
    runs = json.loads(output)
    assert len(runs) == 24
    stars = ["3x3", "3x5", "5x3", "5x5"]
    assert [run for run in runs if "next_token" in run] == [f"{star}-next_token" for star in stars]
    assert runs["5x3-next_token"]["task"]["degree"] == 5
    assert {run["batch_size"] for run in runs.values()} == {64}


def test_show_explains_every_field(call):
    _, output, _ = call("show", "paper_code")
    for key in ("task.degree", "model.position_std", "warmup_from_zero", "learning_rate"):
        assert key in output
    assert "arms of the star" in output


def test_help_of_every_verb_has_an_example(call):
    for verb in (
        ["quickstart"],
        ["list"],
        ["show"],
        ["train"],
        ["evaluate"],
        ["diagnose"],
        ["compare"],
        ["ask"],
        ["study"],
        ["report"],
        ["export"],
        ["data", "export"],
        ["data", "import"],
    ):
        code, output, _ = call(*verb, "--help")
        assert code == 0
        assert f"Example: unforced {' '.join(verb)}" in output


def test_the_light_commands_do_not_import_torch():
    script = "import sys, unforced, unforced.cli.main as m; m.build_app(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


def test_the_version_is_that_of_the_package(call):
    assert call("--version") == (0, f"unforced {unforced.__version__}\n", "")


FORMER = {
    ("seeds", "a", "--json"): (["compare", "a", "--json"], "seeds"),
    ("evaluate", "--task", "x", "--model", "m", "d=3"): (
        ["ask", "m", "--task", "x", "d=3"],
        "evaluate --model",
    ),
    ("evaluate", "--model=m", "--task=x"): (["ask", "m", "--task=x"], "evaluate --model"),
    ("evaluate", "runs/mine", "decoder=one_pass"): (["evaluate", "runs/mine", "decoder=one_pass"], ""),
    ("train", "--model"): (["train", "--model"], ""),
    (): ([], ""),
}


@pytest.mark.parametrize("arguments", FORMER, ids=" ".join)
def test_a_former_verb_is_read_as_the_present_one(arguments):
    assert with_present_verb(arguments) == FORMER[arguments]


def test_a_former_verb_works_and_names_the_present_one(call, finished):
    now = call("compare", finished, "--json")
    assert now[0] == 0
    assert call("seeds", finished, "--json") == (*now[:2], "unforced: `seeds` is now `unforced compare`\n")
    _, _, errors = call("evaluate", "--model", finished / "absent", "--task", "path_star")
    assert errors.startswith("unforced: `evaluate --model` is now `unforced ask MODEL`\nunforced: MODEL: ")


def test_the_home_folder_is_found_in_every_path(call, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(tiny_run("max_steps=2").tree()))
    assert call("train", "~/config.json", "--out=~/run")[0] == 0
    assert call("evaluate", "~/run", "--count=20")[0] == 0
    assert call("data", "export", config, "--out=~/a.txt", "--count=5")[0] == 0
    assert call("evaluate", "~/run", "--data=~/a.txt")[0] == 0
    assert not (tmp_path / "~").exists()
    assert {"run", "a.txt"} <= {path.name for path in tmp_path.iterdir()}


def test_the_home_folder_is_found_in_values_that_are_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    typed = ["name_or_path=~/m", "mask_token=~", "text=a~/b", 'quoted="~/m"', "other=~nobody-here/m"]
    assert assignments(typed) == {
        "name_or_path": "/home/me/m",
        "mask_token": "~",
        "text": "a~/b",
        "quoted": "~/m",
        "other": "~nobody-here/m",
    }


def test_a_file_with_parts_is_loaded_for_one_verb_and_the_processes_that_it_starts(
    call, mistake, tmp_path, monkeypatch
):
    file = tmp_path / "parts.py"
    file.write_text(
        "from typing import Literal\n\nfrom unforced.objectives.next_token import NextToken\n\n\n"
        'class Mine(NextToken):\n    """Mine."""\n\n    name: Literal["of_a_file"] = "of_a_file"\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UNFORCED_PLUGINS", "")
    show = ("show", "quickstart.next_token", "objective=of_a_file", "--json")
    with OBJECTIVES.holding():
        assert mistake(*show).startswith("unknown objective 'of_a_file'")
        code, output, _ = call(*show, "--plugin=~/parts.py")
        assert (code, json.loads(output)["objective"]["name"]) == (0, "of_a_file")
        assert os.environ["UNFORCED_PLUGINS"] == ""
        with as_command_sees("UNFORCED_PLUGINS", "--plugin", str(file)) as seen:
            assert seen == [str(file)]
    assert mistake("list", "--plugin", tmp_path / "no.py") == f"{tmp_path / 'no.py'}: no such file"


@contextmanager
def as_command_sees(variable, *arguments):
    """What a verb sees of an environment variable."""
    seen = []

    def verb() -> None:
        seen.append(os.environ.get(variable))

    app = typer.Typer()
    app.command()(as_command(verb))
    app(args=list(arguments), standalone_mode=False)
    yield seen
