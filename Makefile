# Each target sets itself up: a virtual environment in .venv, installed through constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Python compiles what is imported, once; compiling all that is installed would take pip a minute. Where it may not
# keep the bytecode, each process compiles anew: 4 of the 6.5 seconds of CPU time of a run's start.
unexport PYTHONDONTWRITEBYTECODE
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable

.PHONY: quickstart test check fix golden gallery docs package

quickstart: .venv/ready
	$(BIN)/unforced quickstart

# Shapes and types are checked at run time in the tests that go through every signature; in all others that takes too long.
CHECKED := $(addprefix tests/test_,$(addsuffix .py,addition attention belief_state branching_path countdown \
  crossing_lines decoding flops future_summary gpt_parity insertion joint layouts mamba_parity margins masked mixture \
  models multi_token next_latent objectives optimizer path_star registers source stacked step stream sudoku tasks text \
  token_order trace vocabulary writing))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist worksteal

test: .venv/ready-dev
	$(PYTEST) $(CHECKED)
	$(PYTEST) --jaxtyping-packages= $(addprefix --ignore=,$(CHECKED))

check: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not slow"

fix: .venv/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: .venv/ready-dev
	$(BIN)/python -m tests.golden.write

gallery: .venv/ready
	$(BIN)/python docs/site/task_gallery.py

docs: .venv/ready-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

package: .venv/ready-dev
	$(BIN)/python -m build --outdir dist .

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/ready: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) .
	touch $@

.venv/ready-dev: .venv/ready
	$(INSTALL) ".[dev]"
	touch $@

.venv/ready-docs: .venv/ready
	$(INSTALL) ".[docs]"
	touch $@
