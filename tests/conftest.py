import os

# One thread: tiny models are fastest so, and results do not depend on the machine's cores.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest

from tests.runs import tiny_run
from unforced.cli.main import main


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep measurements of attention back-ends out of the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def run():
    return tiny_run()


@pytest.fixture
def call(capsys):
    """Call the command line; return its exit code, output and errors."""

    def call(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return call
