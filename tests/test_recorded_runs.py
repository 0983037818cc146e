"""Runs that an earlier version recorded: a new field, a changed default, or a missing package later."""

import hashlib
import json
import shutil

import pytest
from pydantic import Field
from pydantic.fields import FieldInfo

from tests.runs import metrics, newest_weights, stop_at, tiny_run, train
from unforced.config import Run
from unforced.errors import UserError
from unforced.experiment import diagnose_run, evaluate_run, load_run
from unforced.exporting import export_run
from unforced.models.gpt import GPT
from unforced.objectives.next_token import NextToken
from unforced.reporting.report import write_report
from unforced.runs.index import find_finished
from unforced.studies.folder import StudyFolder
from unforced.study import Study
from unforced.tasks.path_star import PathStar

RUN = tiny_run("num_test=1600")
TREE, FINGERPRINT = RUN.tree(), RUN.fingerprint


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    path = tmp_path_factory.mktemp("straight") / "run"
    train(RUN, path)
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    path = tmp_path_factory.mktemp("stopped") / "run"
    train(RUN, path, observer=stop_at(20))
    return path


@pytest.fixture
def copies(straight, stopped, tmp_path):
    return shutil.copytree(straight, tmp_path / "done"), shutil.copytree(stopped, tmp_path / "begun")


@pytest.fixture
def add_field():
    """Add fields to config classes, as a new version of a package does."""
    changed = []

    def add_field(kind, **fields):
        changed.append((kind, dict(kind.__pydantic_fields__)))
        kind.__pydantic_fields__ |= fields
        kind.model_rebuild(force=True)

    yield add_field
    for kind, fields in reversed(changed):
        kind.__pydantic_fields__ = fields
        kind.model_rebuild(force=True)


def in_the_old_way(path):
    """Write what identifies the run of a folder as the first release did: a hash of all fields."""
    config = json.loads((path / "config.json").read_text())
    known = {
        key: value for key, value in config.items() if key not in ("checkpoint_every", "keep_checkpoints")
    }
    old = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    for file in path.glob("checkpoints/*/state.json"):
        state = json.loads(file.read_text()) | {"format": "unforced checkpoint 1", "run": old}
        del state["config"]
        file.write_text(json.dumps(state))
    if (path / "result.json").exists():
        result = json.loads((path / "result.json").read_text()) | {"run": old}
        del result["config"]
        (path / "result.json").write_text(json.dumps(result))
    return old


def assert_usable(done, begun, straight, run):
    """Evaluate, diagnose, go on with, and find the folders."""
    loaded = load_run(done)
    assert loaded.refused == []
    result = json.loads((straight / "result.json").read_text())
    assert evaluate_run(loaded, ["test"], None)["test.free.exact"] == result["test.free.exact"]
    assert train(run, done, resume=True).reason == "done"
    train(run, begun, resume=True)
    assert (newest_weights(begun), metrics(begun)) == (newest_weights(straight), metrics(straight))
    assert train(run, begun, resume=True).reason == "done"
    assert diagnose_run(done, None, 0.95)["verdict"]
    found = find_finished([done, begun])
    assert (len(found.runs), found.skipped, len(found.duplicates)) == (1, {}, 1)
    with pytest.raises(UserError, match="holds this run already"):
        train(run, done)


@pytest.mark.parametrize(("kind", "old"), [(PathStar, False), (GPT, True), (NextToken, False), (Run, True)])
def test_a_run_survives_a_new_field_with_a_default(copies, straight, add_field, kind, old):
    for path in copies if old else ():
        assert in_the_old_way(path) != FINGERPRINT
    add_field(kind, gamma=FieldInfo.from_annotated_attribute(float, Field(1.0, ge=0)))
    run = tiny_run("num_test=1600")
    assert run.tree() != TREE
    assert run.fingerprint == FINGERPRINT
    assert_usable(*copies, straight, run)
    key = {PathStar: "task.", GPT: "model.", NextToken: "objective.", Run: ""}[kind] + "gamma"
    with pytest.raises(UserError, match=f"cannot be resumed with {key}=2.0: its run has {key}=1.0"):
        train(run.override([f"{key}=2.0"]), copies[1], resume=True)


FORMER = [
    ('"token_shift"', '"smear"'), ('"tie_embeddings"', '"tied"'), ('"activation": "gelu"', '"gelu": "exact"'),
    ('"attention": "math"', '"attention": "explicit"'), ('"train_past_stop"', '"overtrain"'),
    ('"autocast_dtype"', '"matrix_dtype"'), ('"question_blindness"', '"goal_blindness"'),
]  # fmt: skip


def test_names_of_the_first_release_are_read(copies, straight):
    diagnose_run(copies[0], None, 0.95)
    for path in copies:
        for file in [*path.glob("*.json"), *path.glob("checkpoints/*/state.json")]:
            text = file.read_text()
            for now, before in FORMER:
                text = text.replace(now, before)
            file.write_text(text)
        assert '"smear"' in (path / "config.json").read_text()
        in_the_old_way(path)
    run = RUN.override(["model.smear=false", "model.gelu=exact", "model.attention=explicit", "overtrain=1.0"])
    assert run == RUN
    assert_usable(*copies, straight, run)
    assert "question_blindness" in str(find_finished([copies[0]]).runs[0].diagnosis)


def test_a_run_of_the_first_release_is_exported_and_reported(copies, tmp_path, in_svg_alone):
    done, _ = copies
    in_the_old_way(done)
    assert export_run(done, tmp_path / "exported").step == 40
    summary = write_report([done], tmp_path / "report")
    assert (summary["runs"], summary["skipped"]) == (1, {})


def test_a_checkpoint_of_another_run_in_the_old_way_is_refused(copies, tmp_path):
    _, begun = copies
    in_the_old_way(begun)
    for file in begun.glob("checkpoints/*/state.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"run": "0" * 16}))
    with pytest.raises(UserError, match="checkpoint refused: it belongs to run 0000000000000000, not to "):
        train(RUN, begun, resume=True)


def test_a_study_of_the_first_release_goes_on(straight, tmp_path):
    runs = {"a": RUN, "b": tiny_run("num_test=1600", "seed=1")}
    shutil.copytree(straight, tmp_path / "a")
    old = in_the_old_way(tmp_path / "a")
    marker = tmp_path / "study.json"
    marker.write_text(json.dumps({"name": "s", "source": "", "runs": {"a": old, "b": "0" * 16}}))
    for altered in ({"a": runs["b"], "b": RUN}, {"a": RUN, "c": runs["b"]}):
        with pytest.raises(UserError, match=r"cannot be resumed with seed=1|holds another study"):
            StudyFolder(tmp_path).claim(Study("s", "", altered))
    study = Study("s", "", runs)
    StudyFolder(tmp_path).claim(study)
    assert json.loads(marker.read_text())["runs"] == {name: run.fingerprint for name, run in runs.items()}
    assert StudyFolder(tmp_path).left(study) == {"b": 1.0}


@pytest.fixture
def bumped(monkeypatch):
    """GPT after its default of `width` became 16."""
    fields = dict(GPT.__pydantic_fields__)
    GPT.__pydantic_fields__ |= {"width": FieldInfo.from_annotated_attribute(int, Field(16, ge=1))}
    GPT.model_rebuild(force=True)
    monkeypatch.setattr(GPT, "schema_version", 2)
    monkeypatch.setattr(GPT, "earlier_defaults", {1: {"width": 384}})
    yield
    GPT.__pydantic_fields__ = fields
    GPT.model_rebuild(force=True)


def test_a_changed_default_is_told_from_the_old_one(bumped):
    run = tiny_run("num_test=1600")
    assert run.fingerprint != FINGERPRINT
    assert run.tree()["model"]["schema_version"] == 2
    assert Run.from_tree(run.tree()) == run
    assert run.belongs(TREE)
    before = {key: value for key, value in TREE["model"].items() if key != "width"}
    assert Run.from_tree(TREE | {"model": before}).model.width == 384
    assert run.override(["model=gpt"]).model.width == run.replace(model="gpt").model.width == 16
    assert run.override(["model.layers=3"]).model.width == 16


@pytest.mark.parametrize(
    "change", [{"model": TREE["model"] | {"schema_version": 2}}, {"seeds": 1}, {"schema_version": 9}]
)
def test_a_run_of_a_newer_version_is_refused_in_one_line(straight, tmp_path, change):
    path = shutil.copytree(straight, tmp_path / "run")
    (path / "config.json").write_text(json.dumps(TREE | change))
    with pytest.raises(UserError) as error:
        load_run(path)
    what = {
        "model": "model.schema_version: 2 is newer than 1, the newest known here",
        "seeds": "seeds: unknown key 'seeds'; did you mean 'seed'?",
        "schema_version": "schema_version: 9 is newer than 1, the newest known here",
    }[next(iter(change))]
    assert str(error.value).startswith(f"{path / 'config.json'}: {what}")
    assert "; if a newer version wrote it, upgrade the package, else restore it, or " in str(error.value)


def test_a_run_with_a_part_that_is_not_installed_names_what_is_missing(straight, tmp_path):
    path = shutil.copytree(straight, tmp_path / "run")
    (path / "config.json").write_text(json.dumps(TREE | {"objective": {"name": "unheard_of", "weight": 0.5}}))
    with pytest.raises(UserError) as error:
        load_run(path)
    assert str(error.value) == (
        f"{path / 'config.json'}: objective 'unheard_of' is not installed here; "
        "install the package that the run had it from, or import the file that has it first"
    )
