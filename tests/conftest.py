import contextlib
import hashlib
import json
import os
import shutil

# One thread: tiny models are fastest so, and results do not depend on the machine's cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"  # a name on the hub is refused at once, not after retries

import pytest
from filelock import FileLock

from tests.runs import stop_at, tiny_run, train, unchecked
from unforced.cli.main import main
from unforced.registry import DECODERS, HEADS, MODELS, OBJECTIVES, TASKS


@pytest.fixture
def run():
    return tiny_run()


@pytest.fixture(autouse=True)
def parts_kept():
    """Forget the parts that a test defines."""
    with contextlib.ExitStack() as stack:
        for registry in (TASKS, MODELS, OBJECTIVES, HEADS, DECODERS):
            stack.enter_context(registry.kept())
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Make a folder once for all workers of this session, and return a copy of it.

    once(key, make, path): who comes first calls `make(draft)`; `key` names what is made; the copy is `path`.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def once(key, make, path):
        made = shared / "once" / hashlib.sha256(key.encode()).hexdigest()[:16]
        made.parent.mkdir(exist_ok=True)
        with FileLock(f"{made}.lock"):
            if not made.exists():
                draft = made.with_suffix(".draft")
                shutil.rmtree(draft, ignore_errors=True)  # of a worker that failed
                make(draft)
                draft.rename(made)
        return shutil.copytree(made, path)

    return once


@pytest.fixture(scope="session")
def trained(once):
    """Put a run into a folder, finished or stopped at a step; it is trained once for all that ask for it."""

    def trained(run, path, stopped_at=None):
        key = json.dumps([run.tree(), stopped_at], sort_keys=True)
        observer = None if stopped_at is None else stop_at(stopped_at)
        return once(key, lambda draft: train(run, draft, observer=observer), path)

    return trained


@pytest.fixture
def without_figures(monkeypatch):
    """Let reports draw nothing: for tests of what else they hold."""
    monkeypatch.setattr("unforced.reporting.report.FIGURES", ())


@pytest.fixture
def in_svg_alone(monkeypatch):
    """Let reports write figures in one format: for tests of what is drawn."""
    from unforced.reporting import report

    monkeypatch.setattr(report, "_DRAWERS", {"svg": report._DRAWERS["svg"]})


@pytest.fixture
def call(capsys):
    """Call the command line; return its exit code, output and errors."""

    def call(*arguments):
        with unchecked(), pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return call
