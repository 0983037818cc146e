"""The studies that come with the package: their settings, and what they expect of which runs."""

import re
import sys

import pytest

from tests.runs import tiny_run
from tests.small_study import small_study
from unforced.errors import UserError
from unforced.recipes import resolve, resolve_run, resolve_study
from unforced.registry import STUDIES
from unforced.runs.folder import RunFolder
from unforced.studies.cost import Costs
from unforced.studies.local import LocalEngine, available_cores
from unforced.studies.plan import make_plan
from unforced.study import kind_of, only

STUDY_NAMES = STUDIES.names()


@pytest.mark.parametrize("name", STUDY_NAMES)
def test_every_expectation_speaks_of_the_five_seeds_of_one_kind_of_run(name):
    study = resolve_study(name, [])
    trees = {part: run.tree() for part, run in study.runs.items()}
    for expectation in study.expectations:
        chosen = {part: run for part, run in study.runs.items() if expectation.selects(trees[part])}
        assert len({kind_of(part, run) for part, run in chosen.items()}) == 1, expectation.group
        assert sorted(run.seed for run in chosen.values()) == list(range(5))


@pytest.mark.parametrize("name", STUDY_NAMES)
def test_every_study_names_itself_and_its_source(name):
    study = resolve_study(name, [])
    assert study.name == name
    assert "arXiv" in study.source
    assert study.expectations


def test_an_altered_study_expects_nothing_and_says_so():
    name = "top_table5"
    assert resolve_study(name, ["checkpoint_every=7"]).expectations
    altered = resolve_study(name, ["num_train=500", "batch_size=32"])
    assert not altered.expectations
    assert altered.source.endswith("; altered: num_train=500 batch_size=32")
    assert all(run.num_train == 500 for run in altered.runs.values())


def test_what_is_the_users_to_give_alters_nothing(tmp_path):
    given = f"model.name_or_path={tmp_path}"
    study = resolve_study("pretrained_stars", [given])
    assert study.expectations
    assert {run.model.name_or_path for run in study.runs.values()} == {str(tmp_path)}
    altered = resolve_study("pretrained_stars", [given, "batch_size=8"])
    assert not altered.expectations
    assert altered.source.endswith("; altered: batch_size=8")


def test_a_part_of_a_study_is_chosen_by_pattern():
    study = resolve_study("pitfalls", [])
    part = only(study, ["gpt-[25]x5-*-[012]", "mamba-2x5-reversed-0"])
    assert len(part.runs) == 2 * 3 * 3 + 1
    assert part.expectations == study.expectations
    assert only(study, []) == study
    with pytest.raises(
        UserError, match=r"only=\'gtp-\*\': no run of study 'pitfalls' is called so; the 270 are"
    ):
        only(study, ["gtp-*"])


OWN = """
from unforced.recipes.quickstart import quickstart
from unforced.study import Study, over_seeds

def rates():
    return Study("rates", "our own", over_seeds({"one": quickstart()["next_token"]}, range(2)))

def one():
    return quickstart()["next_token"]

def two():
    return {"a": one(), "b": one().replace(order="reversed")}

def seven():
    return 7
"""


def test_a_study_or_recipe_of_ones_own_is_a_function_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    assert list(resolve_study(f"{file}:rates", []).runs) == ["one-0", "one-1"]
    assert resolve(f"{file}:one", ["seed=3"]).seed == 3
    assert list(resolve(f"{file}:two", ["seed=3"])) == ["a", "b"]
    assert resolve_run(f"{file}:two.b", ["seed=3"]).order == "reversed"
    with pytest.raises(UserError, match=r"name one: .*mine.py:two.a, .*mine.py:two.b$"):
        resolve_run(f"{file}:two", [])
    for wrong, line in {
        "two.c": "unknown run 'two.c'; did you mean 'two.b'?",
        "one.c": "unknown run 'one.c'; did you mean 'one'?",
        "tow.a": "unknown function 'tow.a'; did you mean 'two'?",
    }.items():
        with pytest.raises(UserError, match=re.escape(f"{file}: {line}")):
            resolve(f"{file}:{wrong}", [])
    with pytest.raises(
        UserError, match=r"mine.py:seven is not a recipe: its function returns no run, and no"
    ):
        resolve(f"{file}:seven", [])
    for wrong, line in {
        f"{file}:rate": f"{file}: unknown function 'rate'; did you mean 'rates'",
        f"{tmp_path}/absent.py:rates": "absent.py: no such file",
        f"{file}:one": "its function returns no Study",
    }.items():
        with pytest.raises(UserError, match=re.escape(line)):
            resolve_study(wrong, [])
    with pytest.raises(UserError, match="is a study; carry it out with `unforced study"):
        resolve(f"{file}:rates", [])
    (tmp_path / "beside_my_recipes.py").write_text("seed = 7")
    file.write_text(
        f"{OWN}import beside_my_recipes\ndef near(): return one().replace(seed=beside_my_recipes.seed)"
    )
    assert resolve_run(f"{file}:near", []).seed == 7
    file.write_text("1 / 0")
    with pytest.raises(UserError, match=r"mine.py: line 1: ZeroDivisionError: division by zero"):
        resolve_study(f"{file}:rates", [])


def test_the_papers_tables_are_six_topologies_three_families_and_three_ways():
    runs = resolve_study("pitfalls", []).runs
    assert len(runs) == 6 * 3 * 3 * 5
    run = runs["mamba-20x5-teacherless-4"]
    assert (run.task.degree, run.task.path_length, run.task.num_nodes) == (20, 5, 81)
    assert (run.model.name, run.objective.name, run.seed) == ("mamba", "teacherless", 4)
    assert runs["gpt-2x5-reversed-0"].order == "reversed"
    assert runs["gpt2_large-2x20-next_token-0"].model.name_or_path == "openai-community/gpt2-large"


def test_expected_values_are_those_of_the_sources():
    """TOP, Table 5, and NextLat, Fig. 6: next-token rows, in percent."""
    for name, rows in {
        "top_table5": {"G(3,3)": 33.8, "G(3,5)": 32.5, "G(5,3)": 19.5, "G(5,5)": 0.1},
        "nextlat_fig6": {"G(2,10)": 49.4, "G(5,5)": 18.6, "G(7,7)": 12.6},
    }.items():
        expected = [
            each
            for each in resolve_study(name, []).expectations
            if each.select["objective.name"] == "next_token"
        ]
        found = {row: each.value for row in rows for each in expected if row in each.group}
        assert {row: round(100 * value, 1) for row, value in found.items()} == rows


def test_the_work_of_a_run_is_what_its_result_says_it_took(tmp_path, trained):
    run = tiny_run()
    trained(run, tmp_path / "run")
    assert Costs(threads=1).work(run) == RunFolder(tmp_path / "run").read_result()["flops"]


def test_speed_is_measured_once_for_each_kind_of_model():
    calls = []
    costs = Costs(threads=1, measure=lambda run, threads, at_once: calls.append(run) or 7.0)
    for overrides in ([], ["seed=1"], ["model.width=32"], ["num_train=100"]):
        assert costs.speed(tiny_run(*overrides)) == 7.0
    assert len(calls) == 2


def test_a_plan_counts_what_is_left_and_how_long_that_takes():
    study = small_study()
    plan = make_plan(study, {"tiny-1": 1.0, "tiny-2": 0.25}, LocalEngine(workers=2))
    (kind,) = plan.kinds.values()
    assert (kind.name, kind.runs, kind.left, kind.steps, kind.reason) == ("tiny", 3, 2, 200, "")
    assert kind.operations == Costs(1).work(study.runs["tiny-0"])
    assert plan.seconds == pytest.approx(1.25 * kind.seconds / min(2, len(available_cores())))
    crowd = make_plan(study, dict.fromkeys(study.runs, 1.0), LocalEngine(workers=50))
    assert crowd.at_full_speed == len(available_cores())
    assert crowd.seconds == pytest.approx(3 * crowd.kinds["tiny"].seconds / min(3, crowd.at_full_speed))
    assert plan.operations == {"tiny-1": kind.operations, "tiny-2": kind.operations}


def test_a_plan_names_what_it_cannot_know():
    study = resolve_study("pitfalls", [])
    large = {name: run for name, run in study.runs.items() if name.startswith("gpt2_large-2x5")}
    plan = make_plan(type(study)("large", "nobody", large), dict.fromkeys(large, 1.0), LocalEngine(workers=1))
    assert len(plan.kinds) == 3
    for kind in plan.kinds.values():
        assert kind.operations is None
        assert kind.seconds is None
        assert "openai-community/gpt2-large" in kind.reason
    assert plan.operations == {}
    assert (plan.left, plan.unknown, plan.seconds) == (len(large), len(large), 0)
