"""Numbers that should not move do not: recipes and loss curves against the golden files."""

import pytest

from tests.golden.write import configs, curves, losses


@pytest.mark.parametrize(("file", "content"), list(configs()), ids=lambda value: getattr(value, "stem", ""))
def test_the_resolved_config_of_each_recipe_stands(file, content):
    assert content == file.read_text(), (
        "a recipe changed: if that is meant, `make golden` and say so in CHANGELOG"
    )


@pytest.mark.parametrize(("file", "run"), list(curves()), ids=lambda value: getattr(value, "stem", ""))
def test_the_first_twenty_losses_of_each_objective_stand(file, run):
    golden = [float(line) for line in file.read_text().split()]
    assert losses(run) == pytest.approx(golden, rel=1e-4)
    assert golden[-1] < 0.95 * golden[0]
