"""Every objective on the same data, model and steps: which ones look ahead, at what cost, how surely."""

from collections.abc import Iterator, Mapping
from typing import Any

from unforced.config import Run, flatten
from unforced.expectations import Expectation, Relation
from unforced.recipes.pitfalls import SEEDS
from unforced.recipes.quickstart import quickstart
from unforced.registry import OBJECTIVES
from unforced.study import Study, over_seeds
from unforced.tasks.base import Task
from unforced.tasks.crossing_lines import CrossingLines
from unforced.tasks.path_star import PathStar

_MARGIN = 0.03  # around 1/d, and below 100%
_CLAIMS = {
    "next_token": "arXiv 2403.06963, Sec. 5: held-out accuracy at most 1/d",
    "teacherless": "arXiv 2403.06963, Sec. 5: solves some of the easier graphs",
    "multi_token": "arXiv 2508.19228, Table 5: 100% on G(3,3), G(3,5) and G(5,3) with four heads",
    "token_order": "arXiv 2508.19228, Table 5: 100% on G(3,3), G(3,5), G(5,3) and G(5,5)",
    "future_summary": "arXiv 2510.14751: perfect on G(2,6) and G(2,8)",
    "next_latent": "arXiv 2511.05963, Fig. 6: 94% to 100% on G(2,10), G(5,5) and G(7,7)",
    "registers": "arXiv 2505.10518: solves the star graphs it shows",
    "belief_state": "arXiv 2410.23506: 100% on G(2,5), G(2,10) and G(5,5)",
    "masked": "arXiv 2406.05183: 100% on stars of degree 2",
    "insertion": "arXiv 2505.05755: 100% on its stars, which are crossing lines",
    "joint": "arXiv 2503.21801: solves star graphs",
}
"""What sources say of objectives on stars, mostly larger ones, with larger models."""


def objectives_small() -> Study:
    """Every objective at laptop size: three path-stars and crossing lines, five seeds, the same steps.

    The quickstart's model on a stream of fresh problems; a constant rate after warm-up, so that what a run
    has learnt after fewer steps, or fewer operations, is what a shorter run would have learnt (but for
    multi_token_shared, whose weights fall to 0 over a run). A run ends when it is solved.
    """
    runs: dict[str, Run] = {}
    expected: list[Expectation] = []
    for label, task in _tasks().items():
        base = quickstart()["next_token"].replace(
            task=task, schedule="constant", max_steps=2500, num_test=2000
        )
        for name, objective in all_objectives(task.answer_length).items():
            run = base.replace(objective=objective)
            runs[f"{label}-{name}"] = run
            expected += _claims(name, run)
    source = "arXiv 2403.06963, and each objective's own; graphs and models are larger there"
    return Study("objectives_small", source, over_seeds(runs, SEEDS), expected, diagnose=True)


def _tasks() -> dict[str, Task]:
    stars = {
        f"{degree}x{length}": PathStar(degree=degree, path_length=length, num_nodes=degree * (length - 1) + 3)
        for degree, length in ((2, 4), (3, 4), (2, 5))
    }
    return {**stars, "crossing": CrossingLines(degree=2, shortest=3, longest=5, num_nodes=12)}


def all_objectives(answer: int) -> dict[str, str | dict[str, Any]]:
    """Return every objective of the package by name, set to look to the end of an answer of `answer` tokens.

    Of multi_token, the kind with parallel heads, and the one without parameters of its own.
    """
    settings: dict[str, str | dict[str, Any]] = {
        name: name for name in OBJECTIVES.names() if OBJECTIVES.source(name) is None
    }
    return settings | {
        "multi_token": {"name": "multi_token", "horizon": answer},
        "multi_token_shared": {"name": "multi_token", "heads": {"name": "shared"}, "horizon": answer},
    }


def _claims(name: str, run: Run) -> Iterator[Expectation]:
    """Yield what the source of an objective says of such a run: that it solves the task, or does not."""
    if name not in _CLAIMS or (name == "insertion") != isinstance(run.task, CrossingLines):
        return
    if name == "next_token":
        chance = run.task.chance
        assert chance is not None
        yield claim(run, _CLAIMS[name], "test.free.exact", "at_most", chance)
    else:
        yield claim(run, _CLAIMS[name], "test.free.exact", "at_least", 1.0)


def claim(
    run: Run, source: str, measure: str, relation: Relation, value: float, tolerance: float = _MARGIN
) -> Expectation:
    """Expect a measure of a run and its likes: the same task, kind of model, objective, order and data."""
    tree = run.tree()
    parts: Mapping[str, Any] = {key: tree[key] for key in ("task", "objective", "order", "stream")}
    return Expectation(
        group=run.title,
        select=flatten(parts) | {"model.name": run.model.name},
        measure=measure,
        relation=relation,
        value=value,
        tolerance=tolerance,
        source=source,
    )
