"""Sources and published numbers of tasks: what is refused, and that what the tasks name can be made."""

import pytest

from unforced.registry import TASKS
from unforced.tasks.published import Published, Source, table

PAPER = Source("Mazes", "2401.00001", "Table 2")


def test_a_table_gives_a_number_per_method_and_setting_that_is_reported():
    made = table(PAPER, "exact", ("small", "large"), {"next_token": (0.9, 0.4), "masked": (None, 1.0)})
    assert made[-1] == Published("large", "masked", "exact", 1.0, PAPER)
    assert [number.value for number in made] == [0.9, 0.4, 1.0]
    assert str(PAPER) == "Mazes, arXiv 2401.00001, Table 2"


def test_per_cents_and_numbers_that_arxiv_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r"93\.0 is not a share of 1"):
        Published("small", "next_token", "exact", 93.0, PAPER)
    with pytest.raises(ValueError, match="'24010001' is not a number on arXiv"):
        Source("Mazes", "24010001")


@pytest.mark.parametrize("name", TASKS.names())
def test_settings_that_the_gallery_lists_are_those_of_the_task(name):
    task = TASKS.get(name)
    assert all(set(settings) <= set(task.model_fields) for settings in task.shown)
    assert len({str(settings) for settings in task.shown}) == len(task.shown) > 0
