"""What the README says can be typed can be typed."""

import re
import shlex
from pathlib import Path

import pytest

from tests.pretrained import saved_with_tokenizer
from tests.runs import unchecked
from unforced.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SMALL = ["max_steps=4", "evaluate_every=2", "num_evaluate=20", "num_test=1600", "batch_size=8"]
COMMANDS = [
    line.split("#")[0].strip() for line in re.findall(r"^    (unforced .*)$", README, flags=re.MULTILINE)
]


def test_every_command_of_the_tour_runs_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) >= 7
    for command in COMMANDS:
        arguments = shlex.split(command.replace("FOLDER_OR_NAME", saved_with_tokenizer("gpt2")))[1:]
        if arguments[0] == "train":
            arguments[2:2] = SMALL
        with unchecked(), pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0, command
    assert (tmp_path / "runs" / "mine" / "result.json").exists()
    assert (tmp_path / "test.parquet").exists()


def test_the_make_targets_exist():
    targets = re.findall(r"^    make (\w+)", README, flags=re.MULTILINE)
    assert {"quickstart", "test"} <= set(targets)
    for target in targets:
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()


def test_files_and_links_that_the_documents_name_exist():
    for document in [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "papers").glob("*/README.md"),
    ]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert link.startswith("https://") or (document.parent / link).exists(), (document, link)


def test_the_map_of_the_source_tree_is_true():
    named = re.findall(r"^      (\w+(?:/|\.py))", README, flags=re.MULTILINE)
    assert len(named) >= 10
    for name in named:
        assert (ROOT / "src" / "unforced" / name).exists(), name


def test_recipes_and_studies_in_the_readme_are_those_that_exist():
    from unforced.registry import RECIPES, STUDIES

    listed = set(re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE))
    assert listed == {name for name in RECIPES.names() if "." not in name} | set(STUDIES.names())
