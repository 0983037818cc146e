"""What cannot be trained: one line with the right advice, and no folder left behind."""

import numpy as np
import pytest
import torch

from tests.runs import tiny_run, train
from unforced.errors import UserError
from unforced.models.failures import first_words
from unforced.runs import folder
from unforced.training import loop


def numpy_has_too_little():
    np.empty(2**60, dtype=np.uint8)


def torch_has_too_little():
    torch.empty(2**60, dtype=torch.uint8)


def gpu_has_too_little():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def python_has_too_little():
    raise MemoryError


def mac_has_too_little():
    raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")


def instead(monkeypatch, function, name="build_train_module"):
    monkeypatch.setattr(loop, name, lambda *arguments: function())


every_failure = pytest.mark.parametrize(
    "fail",
    [
        numpy_has_too_little,
        torch_has_too_little,
        gpu_has_too_little,
        python_has_too_little,
        mac_has_too_little,
    ],
)


@every_failure
@pytest.mark.parametrize("name", ["build_train_module", "build_source"])
def test_too_little_memory_to_begin_is_one_line_and_leaves_no_folder(tmp_path, monkeypatch, fail, name):
    instead(monkeypatch, fail, name)
    with pytest.raises(UserError, match=r"^out of memory: lower batch_size, num_train or .*model.width"):
        train(tiny_run(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@every_failure
def test_too_little_memory_for_a_step_is_one_line(tmp_path, monkeypatch, fail):
    monkeypatch.setattr(loop.EagerStep, "__call__", lambda *inputs: fail())
    with pytest.raises(UserError, match=r"out of memory: lower batch_size"):
        train(tiny_run(), tmp_path / "run")


def test_what_a_library_says_is_cut_between_words():
    said = first_words(ValueError("it is  not\nat " + "https://a.hub/models/" * 3 + " " + "and so on " * 20))
    assert said.startswith("it is not at https://a.hub/models/https")
    assert len(said) <= 200
    assert said.endswith(("and ...", "so ...", "on ..."))
    assert first_words(ValueError()) == "ValueError"


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    instead(monkeypatch, lambda: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        train(tiny_run(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["a file/sub", "/proc/nope/run", "locked/run"])
def test_a_folder_that_cannot_be_made_is_not_to_be_resumed(tmp_path, where):
    (tmp_path / "a file").write_text("")
    (tmp_path / "locked").symlink_to("locked")  # to itself: it can neither be read nor made
    with pytest.raises(UserError, match=r"; choose another out=$") as raised:
        train(tiny_run(), tmp_path / where)
    assert "resume=" not in str(raised.value)


def test_a_disk_that_is_full_from_the_start_leaves_the_path_free(tmp_path, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(folder, "write_json", no_space)
        with pytest.raises(UserError, match="No space left on device; choose another out="):
            train(tiny_run(), tmp_path / "run")
    assert train(tiny_run(), tmp_path / "run").reason == "steps"


def no_space(path, value):
    raise OSError(28, "No space left on device", str(path))
