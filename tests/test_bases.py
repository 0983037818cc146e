"""Which model a pretrained run started from: recorded once, whatever the file system of its reader holds."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.pretrained import save, save_with_tokenizer, saved
from tests.runs import newest_weights, tiny_run, train
from unforced.config import Run
from unforced.files import read_json, write_json
from unforced.models import places
from unforced.models.huggingface import forget_models, read_config
from unforced.models.pretrained import Pretrained
from unforced.objectives.base import Needs
from unforced.objectives.next_token import NextToken
from unforced.runs.folder import RunFolder


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch):
    monkeypatch.setattr(places, "_moved", {})
    forget_models()


def run_of(base, *overrides):
    sizes = ["num_train=64", "max_steps=4", "checkpoint_every=2", "evaluate_every=2", "num_evaluate=10"]
    model = ["model=pretrained", "model.encoding=symbol", f"model.name_or_path={base}"]
    return tiny_run(*model, *sizes, *overrides)


def test_a_folder_is_recorded_by_its_absolute_path_without_following_links(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    (tmp_path / "through").symlink_to("elsewhere/below")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    there = str(tmp_path / "link")
    assert Pretrained(name_or_path="link").name_or_path == there
    assert run_of("link").model.name_or_path == there
    assert (
        tiny_run().replace(model={"name": "pretrained", "name_or_path": "./link"}).model.name_or_path == there
    )
    changed = run_of("gpt2").replace(model={"name_or_path": "~/link"})
    assert (
        changed.model.name_or_path
        == changed.override(["model.name_or_path=link/"]).model.name_or_path
        == there
    )
    assert Pretrained(name_or_path="./absent").name_or_path == str(tmp_path / "absent")
    beyond = Pretrained(name_or_path="through/../").name_or_path  # what that is, no text tells
    assert os.path.samefile(beyond, tmp_path / "elsewhere")


def test_a_name_on_the_hub_stays_one_wherever_it_is_read_again(tmp_path, monkeypatch):
    run = run_of("gpt2")
    write_json(tmp_path / "config.json", run.tree())
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    again = [Run.from_tree(run.tree()), run.override(["seed=0"]), run.replace(seed=0)]
    assert {each.fingerprint for each in again} == {run.fingerprint}
    assert {each.model.origin.hub_name for each in again} == {"gpt2"}
    assert run_of("gpt2").model.name_or_path == str(tmp_path / "gpt2")  # a folder when the run is made


def test_reading_a_recorded_run_asks_the_file_system_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(NextToken, "needs", Needs("full"))  # which takes a look at the model when it is made
    runs = [run_of(saved("gpt2")), run_of(saved("llama"))]
    trees = [run.tree() for run in runs]
    forget_models()
    for name in ("stat", "lstat", "scandir", "getcwd", "open"):
        monkeypatch.setattr(os, name, lambda *_, **__: 1 / 0)
    assert [Run.from_tree(tree) for tree in trees] == runs


def test_a_name_that_a_folder_hides_is_read_from_the_hubs_cache(tmp_path, monkeypatch):
    """transformers alone would load what lies in the working folder."""
    snapshot = tmp_path / "hub" / "models--gpt2" / "snapshots" / "0123"
    save("gpt2", snapshot, vocab=17)
    (tmp_path / "hub" / "models--gpt2" / "refs").mkdir()
    (tmp_path / "hub" / "models--gpt2" / "refs" / "main").write_text("0123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_OFFLINE", True)
    run = run_of("gpt2")
    save("gpt2", tmp_path / "gpt2", vocab=13)
    monkeypatch.chdir(tmp_path)
    assert read_config(run.model.name_or_path, None).vocab_size == 17
    assert places.folder_of("gpt2", None) == snapshot


@pytest.fixture
def moved(tmp_path, trained, once):
    """A run in `run`, stopped on its way, whose base was moved from `base` to `there`."""
    base = tmp_path / "base"
    once("base of test_bases", lambda draft: save("gpt2", draft), base)
    train(run_of(base), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    base.rename(tmp_path / "there")
    forget_models()
    return tmp_path


def test_a_run_whose_base_was_moved_is_measured_exported_and_resumed(moved, call):
    run, there = moved / "run", moved / "there"
    code, _, errors = call("evaluate", run)
    assert code == 2
    assert f"there is no folder {moved / 'base'};" in errors
    assert errors.endswith("; if a run started from it, say where it is now with --base FOLDER\n")
    for verb in (
        ["evaluate", run],
        ["diagnose", run, "--count", "1537"],
        ["export", run, "--to", moved / "to"],
    ):
        code, _, errors = call(*verb, "--base", there)
        assert code == 0, errors
    shutil.rmtree(sorted((run / "checkpoints").iterdir())[-1])
    (run / "result.json").unlink()
    resume = ["train", run / "config.json", "--out", run, "--resume", "--base", there]
    code, _, errors = call(*resume)
    assert code == 0, errors
    assert newest_weights(run) == newest_weights(moved / "whole")
    recorded = [read_json(moved / name / "env.json")["base_sha256"] for name in ("run", "whole")]
    assert recorded[0] == recorded[1] == places.weights_sha256(there)


def test_a_link_in_the_place_of_a_moved_base_is_enough(moved, call):
    (moved / "base").symlink_to("there")
    code, _, errors = call("evaluate", moved / "run")
    assert code == 0, errors
    config = json.loads((moved / "run" / "config.json").read_text())
    assert run_of(moved / "base").tree() == config == RunFolder(moved / "run").run().tree()


def test_another_base_is_refused_in_one_line(moved, call):
    save_with_tokenizer("gpt2", moved / "other")
    code, _, errors = call("evaluate", moved / "run", "--base", moved / "other")
    assert code == 2
    assert errors.startswith(f"unforced: --base: the weights in {moved / 'other'} are not those that ")
    assert errors.count("\n") == 1
    code, _, errors = call("evaluate", moved / "run", "--base", moved / "nowhere")
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith(f"unforced: --base: there is no folder {moved / 'nowhere'}")


def test_a_run_of_the_first_release_is_read_and_its_base_is_not_checked(moved, call):
    """It recorded a folder by its resolved path, and no hash."""
    env = Path(moved / "run" / "env.json")
    write_json(env, {key: value for key, value in read_json(env).items() if key != "base_sha256"})
    code, _, errors = call("evaluate", moved / "run", "--base", moved / "there")
    assert code == 0
    assert errors.startswith(f"{moved / 'run'} did not record which weights it started from: those in ")


def test_a_base_is_for_runs_that_have_one(tmp_path, trained, call):
    trained(tiny_run("max_steps=1"), tmp_path / "run")
    code, _, errors = call("export", tmp_path / "run", "--to", tmp_path / "to", "--base", tmp_path)
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.endswith("trained a model gpt, which starts from no other; drop --base\n")
    code, _, errors = call("train", "paper_gpt_mini", "--base", tmp_path)
    assert code == 2
    assert "add --resume and --out RUN_FOLDER" in errors
