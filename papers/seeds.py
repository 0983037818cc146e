"""The quickstart and the small Mamba over seeds, as studies.

    unforced study papers/seeds.py:quickstart --out runs/quickstart-seeds
    unforced study papers/seeds.py:small_mamba --out runs/small_mamba-seeds
    unforced study papers/seeds.py:small_mamba task.path_length=4 task.num_nodes=9 --out runs/mamba-short

`unforced report FOLDER` then writes every table, with a row per run in tables/seeds.md. A `seeds.json` in the
folders beside this file holds the results from which the tables in their README were made.
"""

from unforced.recipes import resolve
from unforced.recipes.pitfalls import SOURCE
from unforced.study import Study, over_seeds


def quickstart() -> Study:
    """The quickstart's three runs on ten seeds."""
    return Study("quickstart_seeds", SOURCE, over_seeds(dict(resolve("quickstart", [])), range(10)))


def small_mamba() -> Study:
    """The small Mamba's three runs on five seeds, diagnosed."""
    runs = over_seeds(dict(resolve("small_mamba", [])), range(5))
    return Study("small_mamba_seeds", SOURCE, runs, diagnose=True)
