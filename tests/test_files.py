"""Files that are written whole or not at all, and folders that one process has to itself."""

import errno
import fcntl
import os
import socket

import pytest

from tests.runs import tiny_run, train
from unforced.errors import TransientError, UserError
from unforced.files import write_atomically
from unforced.locks import is_locked, locked
from unforced.runs.folder import RunFolder
from unforced.studies.folder import StudyFolder


@pytest.fixture
def flock_raises(monkeypatch):
    """Let the operating system refuse every lock with an error number."""

    def refuse(number):
        def flock(file, operation):
            if operation & fcntl.LOCK_EX:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return refuse


def test_a_lock_is_one_process_s_and_ends_with_the_context(tmp_path):
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []  # to look leaves nothing
    with locked(tmp_path, "taken"):
        assert is_locked(tmp_path)
        with pytest.raises(TransientError, match=f"^{tmp_path}: taken$"), locked(tmp_path, "taken"):
            pass
    assert not is_locked(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL])
def test_where_the_file_system_has_no_locks_a_file_is_one(tmp_path, flock_raises, number):
    flock_raises(number)
    with locked(tmp_path, "taken"):
        assert is_locked(tmp_path)
        holder = f"process {os.getpid()} on {socket.gethostname()} does; if it has ended, delete {tmp_path}"
        with pytest.raises(TransientError, match=f"taken; {holder}"), locked(tmp_path, "taken"):
            pass
    assert not is_locked(tmp_path)


def test_a_run_is_trained_where_the_file_system_has_no_locks_and_a_study_is_held(tmp_path, flock_raises):
    flock_raises(errno.ENOLCK)
    train(tiny_run("max_steps=2"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").done
    assert not RunFolder(tmp_path / "run").busy
    study = StudyFolder(tmp_path / "study")
    study.path.mkdir()
    with study.locked(), pytest.raises(UserError, match="another process is at work on this study"):
        study.check_free()
    study.check_free()


@pytest.mark.parametrize("number", [errno.EIO, errno.EPERM])
def test_an_error_of_the_lock_is_not_another_process(tmp_path, flock_raises, number):
    flock_raises(number)
    with pytest.raises(UserError, match=r"cannot be locked \(.*\); choose another out=") as raised:
        train(tiny_run(), tmp_path / "run")
    assert os.strerror(number) in str(raised.value)
    assert not is_locked(tmp_path / "run")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError(errno.ENOSPC, "full")])
def test_what_interrupts_a_write_leaves_the_old_content_and_no_draft(tmp_path, monkeypatch, error):
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def fsync(handle):
        raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        write_atomically(file, b"new")
    assert isinstance(raised.value, error if isinstance(error, type) else OSError)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_written_name_is_seen_onto_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    write_atomically(tmp_path / "file", b"content")
    assert synced == [str(tmp_path / f".file.{os.getpid()}"), str(tmp_path)]
