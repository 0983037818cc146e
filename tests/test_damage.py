"""Damaged run folders: one line that names the file and says what to do, and nothing good is thrown away."""

import json
import shutil

import pytest
from safetensors.torch import load

from tests.runs import Silent, metrics, newest_weights, tiny_run, train
from unforced.cli.main import main
from unforced.files import write_json
from unforced.runs.folder import RunFolder

DEEP = "[" * 100_000
FILES = [
    ("env.json", "{}", "implementation: field required"),
    ("env.json", "[]", "not a JSON object"),
    ("env.json", '{"implementation": 3}', "implementation: input should be a valid dictionary"),
    ("env.json", DEEP, "not JSON"),
    ("config.json", DEEP, "not JSON"),
    ("config.json", "3", "not a JSON object"),
    ("config.json", '{"task": ' + '{"a":' * 900 + "1" + "}" * 900 + "}", "task: give a name"),
    ("config.json", b"\xff\xfe", "not JSON"),
]
LINES = [
    (b"}{\n", "line 2: not JSON"),
    (b"\n", "line 2: not JSON"),
    (b"\xff\xfe}\n", "line 2: not JSON"),
    (b"[1]\n", "line 2: not a JSON object"),
    (b'{"loss": 1.0}\n', "line 2: step: field required"),
    (b'{"step": "10"}\n', "line 2: step: input should be a valid integer"),
    (DEEP.encode() + b"\n", "line 2: not JSON"),
]
STATES = [
    ("sha256", [], "sha256: input should be a valid dictionary"),
    ("step", "x", "step: input should be a valid integer"),
    ("step", 1_000_000, "step 1000000 is not the folder's"),
    ("step", True, "step: input should be a valid integer"),
    ("seconds", None, "seconds: input should be a valid number"),
    ("run", {}, "run: input should be a valid string"),
    ("format", "unforced checkpoint 0", "not of the format"),
]
RESULTS = ["{}", "[]", '{"steps": 3}', DEEP, '{"steps": 3, "chance": 0.5, "test.free.exact": 1}']


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, trained):
    return trained(tiny_run(), tmp_path_factory.mktemp("stopped") / "run", stopped_at=30)


@pytest.fixture(scope="module")
def straight(tmp_path_factory, trained):
    return trained(tiny_run(), tmp_path_factory.mktemp("straight") / "run")


@pytest.fixture
def path(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def spoil(file, content):
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def refusal(capsys):
    """Resume the run in a folder; return the one line that this ends with."""

    def refusal(path):
        config = path.parent / "config.json"
        config.write_text(json.dumps(tiny_run().tree()))
        with pytest.raises(SystemExit) as exit_:
            main(["train", str(config), "--out", str(path), "--resume", "--json"])
        output, errors = capsys.readouterr()
        assert (exit_.value.code, output, errors.count("\n")) == (2, "", 1)
        return errors

    return refusal


@pytest.mark.parametrize(("name", "content", "reason"), FILES)
def test_a_damaged_file_is_one_line(path, refusal, name, content, reason):
    spoil(path / name, content)
    line = refusal(path)
    assert f"{path / name}: {reason}" in line
    assert "restore it, or" in line


@pytest.mark.parametrize(("content", "reason"), LINES)
def test_a_damaged_line_of_metrics_is_one_line(path, refusal, content, reason):
    first, *others = (path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    spoil(path / "metrics.jsonl", b"".join([first, content, *others]))
    line = refusal(path)
    assert f"{path / 'metrics.jsonl'}: {reason}" in line
    assert "restore it, or start a new run with another --out" in line


@pytest.mark.parametrize("content", RESULTS)
def test_a_damaged_result_is_one_line_and_measured_again_once_deleted(straight, tmp_path, refusal, content):
    path = shutil.copytree(straight, tmp_path / "run")
    spoil(path / "result.json", content)
    line = refusal(path)
    assert f"{path / 'result.json'}: " in line
    assert "delete it, and train with --resume to measure again" in line
    before = newest_weights(path)
    (path / "result.json").unlink()
    train(tiny_run(), path, resume=True)
    again, result = (RunFolder(each).read_result() for each in (path, straight))
    assert again | {"seconds": 0} == result | {"seconds": 0}
    assert (newest_weights(path), metrics(path)) == (before, metrics(straight))


@pytest.mark.parametrize(("key", "value", "reason"), STATES)
def test_a_checkpoint_with_a_damaged_state_is_refused_and_the_one_before_used(
    straight, path, key, value, reason
):
    newest = sorted((path / "checkpoints").iterdir())[-1]
    state = json.loads((newest / "state.json").read_text())
    (newest / "state.json").write_text(json.dumps(state | {key: value}))
    observer = Silent()
    train(tiny_run(), path, resume=True, observer=observer)
    (line,) = observer.news
    assert f"{newest}: checkpoint refused: state.json: " in line
    assert reason in line
    assert (newest_weights(path), metrics(path)) == (newest_weights(straight), metrics(straight))


def test_pruning_keeps_the_newest_and_touches_nothing_else(path):
    checkpoints = path / "checkpoints"
    others = ["step-backup", "step-99999999.old", "step-1", "my-notes"]
    for name in others:
        (checkpoints / name).mkdir()
    (checkpoints / "step-00000050").write_text("a file")
    (checkpoints / "step-00000001").mkdir()  # not complete
    train(tiny_run("checkpoint_every=5"), path, resume=True)
    kept = {"step-00000035", "step-00000040", "step-00000050", "step-00000001"}
    assert {each.name for each in checkpoints.iterdir()} == kept | set(others)


def test_a_refused_checkpoint_does_not_evict_good_ones(path):
    checkpoints = path / "checkpoints"
    shutil.copytree(checkpoints / "step-00000030", checkpoints / "step-00000033")  # the state says 30
    train(tiny_run(), path, resume=True)
    left = sorted(each.name for each in checkpoints.iterdir())
    assert left[0].startswith("refused-step-00000033")
    assert left[1:] == ["step-00000030", "step-00000040"]


def test_a_checkpoint_is_not_lost_to_leftovers_of_later_steps(path):
    (path / "checkpoints" / "step-99999999").mkdir()
    train(tiny_run("keep_checkpoints=1"), path, resume=True)
    assert newest_weights(path)[0] == "step-00000040"


@pytest.mark.parametrize("left", [[], [0, 10], [0, 20, 30], [10, 20, 30]])
def test_a_history_with_gaps_is_not_resumed(path, refusal, left):
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    if left:
        spoil(path / "metrics.jsonl", "".join(lines[step // 10] for step in left))
    else:
        (path / "metrics.jsonl").unlink()
    missing = min({0, 10, 20, 30} - set(left))
    line = refusal(path)
    assert f"{path / 'metrics.jsonl'}: the evaluation at step {missing} is missing" in line
    assert "a checkpoint of step 30; restore it, or start a new run with another --out" in line


def test_a_run_without_checkpoints_says_that_it_starts_over(straight, path):
    shutil.rmtree(path / "checkpoints")
    observer = Silent()
    train(tiny_run(), path, resume=True, observer=observer)
    assert observer.news == [
        f"{path / 'checkpoints'}: no checkpoint is left of the 30 steps that metrics.jsonl tells of; "
        "starting over from step 0"
    ]
    assert (newest_weights(path), metrics(path)) == (newest_weights(straight), metrics(straight))


def test_a_run_that_diverges_ends_there_with_its_last_finite_weights(tmp_path):
    path, observer = tmp_path / "run", Silent()
    run = tiny_run("learning_rate=1e30")
    assert train(run, path, observer=observer).reason == "diverged"
    result, lines = RunFolder(path).read_result(), (path / "metrics.jsonl").read_text().splitlines()
    assert (result["ended_by"], result["steps"]) == ("diverged", 1)
    assert [strict_json(line)["step"] for line in lines] == [0, 1]
    (line,) = observer.news
    assert line.startswith("step 1: the loss or its gradient is not finite: training has diverged, and ends")
    assert line.endswith("below 1e+30")
    name, weights = newest_weights(path)
    assert name == "step-00000001"
    assert all(tensor.isfinite().all() for tensor in load(weights).values())
    assert train(run, path, resume=True).reason == "diverged"


def test_the_command_of_a_run_that_diverges_says_so_and_has_an_exit_code_of_its_own(tmp_path, call):
    write_json(tmp_path / "config.json", tiny_run("learning_rate=1e30").tree())
    command = ("train", tmp_path / "config.json", "--out", tmp_path / "run")
    code, output, _ = call(*command)
    assert (code, output.splitlines()[0]) == (3, f"diverged: {tmp_path / 'run'} (1 steps)")
    code, output, _ = call(*command, "--resume")
    assert (code, output.splitlines()[0]) == (3, f"diverged: {tmp_path / 'run'} (1 steps)")


def strict_json(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
