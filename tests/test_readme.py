"""What the README and the documentation say can be typed can be typed."""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

import unforced
from tests.documents import DOCUMENTS, RESULTS, ROOT, blocks, shown_commands, without_blocks
from tests.runs import unchecked
from unforced.cli.main import build_app, main
from unforced.config import Run
from unforced.registry import RECIPES, STUDIES

SMALL = {"max_steps": 4, "evaluate_every": 2, "num_evaluate": 20, "num_test": 1600, "batch_size": 8}
MODEL = {"layers": 1, "width": 16, "heads": 2}
OVERRIDES = [f"{key}={value}" for key, value in SMALL.items()]
OVERRIDES += [f"model.{key}={value}" for key, value in MODEL.items()]
NOT_CHEAP = {"quickstart", "study"}
"""Verbs that are parsed, not run: the tests of each run them at a small size."""
TOURS = {"README.md": 2, "docs/cli.md": 9, "docs/reproducing.md": 3, "docs/extending.md": 4}
"""Pages whose commands are run, in order, and how many: not those on runs that the page does not train."""
ids = [document.relative_to(ROOT).as_posix() for document in DOCUMENTS]


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_each_block_names_its_language_and_each_command_can_be_typed(document):
    for block in blocks(document):
        assert block.language in {"python", "bash", "text", "toml", "bibtex", "json"}, block
        for arguments in block.commands:
            _check(arguments)
    for arguments in shown_commands(document):
        _check(arguments)
    assert not re.search(r"^    (?:\$ )?unforced ", without_blocks(document), re.MULTILINE), "fence commands"


@pytest.mark.parametrize("document", RESULTS, ids=[path.parent.name for path in RESULTS])
def test_the_commands_of_results_can_be_typed(document):
    commands = [arguments for block in blocks(document) for arguments in block.commands]
    assert commands
    for arguments in commands:
        _check(arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_the_python_of_each_page_runs(document, tmp_path, monkeypatch, in_svg_alone):
    pieces = [block for block in blocks(document) if block.language == "python"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = {"__name__": "page"}
    if any(not block.reason for block in pieces):
        _train_little(monkeypatch)
    for block in pieces:
        if block.reason.startswith("signatures"):
            _check_signatures(block.text)
        elif not block.reason:
            _write_file(block, tmp_path)
            with unchecked():
                exec(compile(block.text, document.name, "exec"), names)


@pytest.mark.parametrize("page", TOURS)
def test_every_command_of_a_tour_runs_in_order(page, tmp_path, monkeypatch, in_svg_alone):
    monkeypatch.chdir(tmp_path)
    pieces = blocks(ROOT / page)
    for block in pieces:
        _write_file(block, tmp_path)
    count = 0
    for program, *arguments in (arguments for block in pieces for arguments in block.commands):
        elsewhere = arguments[1:2] and arguments[1].startswith("runs/") and not Path(arguments[1]).exists()
        if program != "unforced" or arguments[0] in NOT_CHEAP or elsewhere:
            continue
        if arguments[0] == "train":
            arguments[2:2] = OVERRIDES
        with unchecked(), pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0, arguments
        count += 1
    assert count == TOURS[page]


def test_files_and_links_that_the_documents_name_exist():
    made = {
        "gallery/index.md",
        "changelog.md",
        "contributing.md",
        "lab_notes.md",
    }  # when the site is built
    made |= {f"gallery/{page}.md" for page in ("objectives", "decoders", "models", "recipes")}
    for document in [*DOCUMENTS, *RESULTS, ROOT / "LAB_NOTES.md", ROOT / "CHANGELOG.md"]:
        for link in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
            path = (document.parent / link).resolve()
            exists = path.exists() or any(path == ROOT / "docs" / page for page in made)
            assert link.startswith("https://") or exists, (document, link)


def test_every_page_of_the_navigation_exists_and_every_page_is_in_it():
    named = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    pages = {
        path.relative_to(ROOT / "docs").as_posix() for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")
    }
    assert pages - named == set()


def test_recipes_and_studies_in_the_documents_are_those_that_exist():
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "reproducing.md").read_text()
    studies = set(re.findall(r"^\| \[?`(\w+)`", text, flags=re.MULTILINE))
    assert studies >= set(STUDIES.names())
    assert studies - set(STUDIES.names()) <= set(RECIPES.names())


def _write_file(block, folder):
    """Write a block that begins with the name of a file, as in `# mine.py`, to that file."""
    if block.language == "python" and (file := re.match(r"# (\w+\.py)\n", block.text)):
        (folder / file[1]).write_text(block.text)


def _check(arguments):
    """Raise or fail unless a command line can be typed: the program, its options, the names in it."""
    match arguments:
        case ["unforced", *rest]:
            _parse(rest)
        case ["make", target]:
            assert f"\n{target}:" in (ROOT / "Makefile").read_text(), target
        case ["python", "-m", module, *_]:
            assert find_spec(module), module
        case ["pip", "install", *rest] | ["uv", "pip", "install", *rest]:
            extras = re.findall(r"\[([\w,]+)\]", " ".join(rest))
            assert {extra for names in extras for extra in names.split(",")} <= _extras(), rest
        case ["source", ".venv/bin/activate"]:
            pass
        case _:
            raise AssertionError(f"what is {arguments}?")


def _parse(arguments):
    verb = typer.main.get_command(build_app())
    context = verb.make_context("unforced", [], resilient_parsing=True)
    while hasattr(verb, "commands"):
        name, verb, arguments = verb.resolve_command(context, arguments)
        if not hasattr(verb, "commands"):
            context = verb.make_context(name, list(arguments), parent=context)
    overrides = context.params.get("overrides") or []
    for override in overrides:
        assert "=" in override, (arguments, override)
    recipe = context.params.get("recipe") or context.params.get("study")
    if recipe and ".py:" not in recipe and "FOLDER" not in " ".join(overrides) and "/" not in recipe:
        names = {recipe, recipe.partition(".")[0]}
        assert names & {*RECIPES.names(), *STUDIES.names(), "config"}, recipe


def _extras():
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def _check_signatures(text):
    """Check that the classes and functions of a block of signatures exist."""
    source = "\n".join(path.read_text() for path in (ROOT / "src" / "unforced").rglob("*.py"))
    for kind, name in re.findall(r"^\s*(class|def) (\w+)", text, flags=re.MULTILINE):
        assert f"{kind} {name}" in source, name


def _train_little(monkeypatch):
    """Let the interface train for a few steps on a small model."""
    train = unforced.train

    def little(run: Run, *arguments, **options):
        return train(run.replace(**SMALL, model=MODEL), *arguments, **options)

    monkeypatch.setattr(unforced, "train", little, raising=False)
