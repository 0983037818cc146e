"""A wheel of the repository works outside of it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIGHT = ("matplotlib", "pandas", "scipy", "pyarrow", "jinja2", "transformers")
"""Packages that training does without."""
COMPILER = ("torch._dynamo", "sympy")
"""What of PyTorch takes a second to import, and is not needed."""
SMALL = ["max_steps=20", "evaluate_every=10", "num_evaluate=100", "num_test=200"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist of the repository's files and the wheel that was built from the sdist."""
    source, out = tmp_path_factory.mktemp("source") / "unforced", tmp_path_factory.mktemp("dist")
    left_out = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", source / "src", ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CITATION.cff"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The programs of an environment with the wheel, and with the packages that the wheel depends on."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    packages = next(folder.rglob("site-packages")) if not packages.is_dir() else packages
    (packages / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")  # .pth files there stay unread
    (wheel,) = built.glob("*.whl")
    python = folder / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    subprocess.run([python, *install], check=True, env=_environment())
    return folder / "bin"


def test_the_archives_hold_what_is_needed(built):
    (wheel,), (archive,) = built.glob("*.whl"), built.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"unforced/py.typed", "unforced/reporting/page/assets/page.html"} <= names
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}
    with tarfile.open(archive) as sources:
        inside = {name.partition("/")[2] for name in sources.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "src/unforced/cli/main.py"} <= inside


def test_the_quickstart_runs_from_an_installed_wheel(installed, tmp_path):
    where = [installed / "python", "-c", "import unforced; print(unforced.__file__)"]
    assert str(installed.parent) in _output(where, tmp_path)
    out = _output([installed / "unforced", "quickstart", *SMALL, "--out", "runs"], tmp_path)
    assert "teacherless" in out
    assert (tmp_path / "runs" / "learning_curves.png").stat().st_size > 1000


def test_training_imports_nothing_that_only_reports_need(tmp_path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.runs import tiny_run, train\n"
        "train(tiny_run('max_steps=2', 'evaluate_every=2'), Path('run'))\n"
        f"print(sorted(set({[*LIGHT, *COMPILER]}) & set(sys.modules)))\n"
    )
    environment = _environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert run.stdout.splitlines()[-1] == "[]"


def _output(command, folder):
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=_environment())
    assert run.returncode == 0, run.stderr
    return run.stdout


def _environment():
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
