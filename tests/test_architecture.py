"""The flow of imports: each layer knows those before it, and none after."""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import unforced
from unforced.registry import DECODERS, MODELS, OBJECTIVES, TASKS

PACKAGE = Path(unforced.__file__).parent
LAYERS = [
    ["errors", "wording", "streams", "registry", "plugins", "locks", "files", "paths", "huggingface"],
    ["parts"],
    ["provenance"],
    ["tasks"],
    ["data"],
    ["models"],
    ["decoding"],
    ["objectives"],
    ["config"],
    ["expectations"],
    ["study"],
    ["recipes"],
    ["runs"],
    ["bases"],
    ["training"],
    ["evaluation"],
    ["testing"],
    ["results"],
    ["experiment"],
    ["elsewhere"],
    ["stack"],
    ["studies"],
    ["bench"],
    ["reporting"],
    ["integrations"],
    ["exported"],
    ["exporting"],
    ["interface"],
    ["cli"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def imported(file):
    """The parts of the package that a file imports when it is imported itself."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name and name.startswith("unforced."))


FILES = [file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or file.stem in RANK]


def test_imports_run_one_way():
    for file in FILES:
        own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for part in imported(file):
            assert RANK[part] <= RANK[own], f"{file} imports {part}, which comes after {own}"


def test_only_reporting_and_the_command_line_plot_or_print_tables():
    for file in PACKAGE.rglob("*.py"):
        if file.relative_to(PACKAGE).parts[0] not in ("reporting", "interface", "cli"):
            for word in ("matplotlib", "pandas", "rich"):
                assert f"import {word}" not in file.read_text(), file
                assert f"from {word}" not in file.read_text(), file


INSTALLED_AS = {
    "markdown_it": "markdown-it-py",
    "PIL": "pillow",
    "pydantic_core": "pydantic",
    "yaml": "pyyaml",
}


def test_every_package_that_is_imported_is_declared():
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    asked = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.split("[>=]", each)[0] for each in itertools.chain(*asked)}
    known = {*sys.stdlib_module_names, *declared, "unforced", "tests", "benchmarks", "examples"}
    folders = [PACKAGE, root / "tests", root / "benchmarks", root / "papers"]
    for file in itertools.chain(*(folder.rglob("*.py") for folder in folders)):
        for name in packages(file):
            assert INSTALLED_AS.get(name, name) in known, f"{file} imports {name}"


def packages(file):
    """The packages that a file imports, when it is imported or later."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)


def test_tasks_know_no_torch():
    for file in (PACKAGE / "tasks").rglob("*.py"):
        assert "torch" not in file.read_text(), file


def test_no_model_task_or_objective_is_named_outside_its_own_file_the_registry_and_recipes():
    names = {name for registry in (TASKS, MODELS, OBJECTIVES) for name in registry.names()}
    found = set()
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE)
        if place.parts[0] not in ("registry.py", "recipes", "tasks", "models", "objectives"):
            words = [
                node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)
            ]
            named = names - {*DECODERS.names()} if place.parts[0] == "decoding" else names
            found |= {(str(place), word) for word in words if word in named}
    default_of_an_option, keys = (
        ("cli/data.py", "path_star"),
        (("parts.py", "line"), ("runs/schemas.py", "line")),
    )
    assert found == {default_of_an_option, *keys}


def test_every_module_can_be_imported_without_posix():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.without_posix"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert {"unforced.locks", "unforced.cli.work", "unforced.studies.cluster"} <= set(done.stdout.split())


def test_only_what_a_user_types_is_read_as_overrides():
    """The package itself changes runs by `Run.replace`, whose values have types."""
    for file in PACKAGE.rglob("*.py"):
        place = str(file.relative_to(PACKAGE))
        if not place.startswith(("cli/", "config/")) and place != "recipes/__init__.py":
            assert ".override(" not in file.read_text(), file
