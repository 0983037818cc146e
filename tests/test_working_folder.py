"""Files in the folder that a user stands in are not imported by the processes that are started for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import unforced
from unforced.runs.folder import RunFolder

# What the script `unforced` does: the working folder is not among the places that Python imports from.
STUDY = """
import os, sys
from pathlib import Path
del os.environ["PYTHONSAFEPATH"]  # the processes of the study must see to it themselves
from tests.runs import tiny_run
from unforced.studies.cluster import RayEngine
from unforced.studies.local import LocalEngine
from unforced.studies.runner import run_study
from unforced.study import Study
engine = {"local": LocalEngine, "ray": RayEngine}[sys.argv[1]](workers=1)
run = tiny_run("max_steps=1", "num_evaluate=5", "num_test=5")
run_study(Study("one", "ours", {"only": run}), Path("out"), engine, lambda statuses: None).raise_failures()
engine.close()
"""


def test_the_module_as_a_script_does_not_import_the_users_files(tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit(9)\n")
    sources = str(Path(unforced.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": sources}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, "-m", "unforced", "list", "tasks"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "path_star" in done.stdout


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_study_does_not_import_the_users_files(engine, tmp_path):
    """Neither the standard library's names, nor a package's, nor ours."""
    for name in ("random", "difflib", "pydantic", "unforced"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'a').write(__file__)\nraise SystemExit(9)\n")
    sources = [str(Path(__file__).parents[1]), str(Path(unforced.__file__).parents[1])]
    environment = os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(sources)}
    done = subprocess.run(
        [sys.executable, "-c", STUDY, engine],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert RunFolder(tmp_path / "out" / "only").done
    assert not (tmp_path / "executed").exists()
