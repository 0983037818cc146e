"""Recipes of several runs: an override changes them all, and never what they differ in."""

import pytest

from tests.runs import tiny_run
from unforced.errors import UserError
from unforced.recipes import recipe_names, resolve, resolve_run
from unforced.registry import RECIPES


def pair():
    return {"small": tiny_run(), "large": tiny_run("model.width=32", "betas=[0.5,0.9]")}


@pytest.fixture(autouse=True)
def pair_recipe():
    with RECIPES.holding(pair="tests.test_recipes:pair"):
        yield


def test_an_override_changes_every_run():
    runs = resolve("pair", ["seed=3", "model.layers=1", "objective=teacherless"])
    assert {(run.seed, run.model.layers, run.objective.name) for run in runs.values()} == {
        (3, 1, "teacherless")
    }
    assert [run.model.width for run in runs.values()] == [16, 32]


@pytest.mark.parametrize(
    "override", ["model.width=64", "betas=[0.9,0.9]", "model=gpt", 'model={"name":"gpt"}']
)
def test_what_the_runs_differ_in_is_not_overridden_in_all(override):
    key = override.partition("=")[0]
    with pytest.raises(UserError) as error:
        resolve("pair", ["seed=3", override])
    assert str(error.value) == (
        f"{key}: the runs of 'pair' differ in it; override it in one of them: pair.small, pair.large"
    )


@pytest.mark.parametrize("override", ["objective=teacherless", "objective.name=teacherless", "order=forward"])
def test_the_quickstarts_runs_stay_different(override):
    with pytest.raises(UserError, match=r"differ in it; .* quickstart.teacherless$"):
        resolve("quickstart", [override])
    assert resolve_run("quickstart.next_token", [override])


def test_the_runs_of_a_recipe_are_named_as_it_names_them():
    names = recipe_names()
    assert [name for name in names if name.startswith("pair")] == ["pair", "pair.small", "pair.large"]
    assert names["pair.small"] == "path-star G(2,3) with 12 labels, gpt, next_token, 300 problems"
    assert resolve_run("pair.large", ["seed=1"]).model.width == 32
    for wrong, near in {
        "pair.smal": "pair.small",
        "piar.small": "pair.small",
        "paper_cod": "paper_code",
    }.items():
        with pytest.raises(UserError, match=f"^unknown recipe '{wrong}'; did you mean '{near}'"):
            resolve(wrong, [])
