"""Open-ended tasks at laptop size: which ways of training answer with what is new."""

from typing import Any

from unforced.config import Run
from unforced.expectations import Expectation, Relation
from unforced.recipes.objectives import claim
from unforced.recipes.pitfalls import SEEDS
from unforced.recipes.quickstart import quickstart
from unforced.study import Study, over_seeds
from unforced.tasks.open_ended.line import Line
from unforced.tasks.open_ended.sibling import Sibling

_SOURCE = "Roll the dice, arXiv 2504.15266"
_MEASURE = "test.free.creative"
_EQUAL = 0.05
"""How far apart two shares of creative answers may be, and still be about equal."""


def creativity_small() -> Study:
    """Four ways to train on two open-ended tasks, and shorter seed strings, five seeds.

    The quickstart's model with 2 layers, on as many steps for each way of training: 250 on 1,000 items of
    sibling(3,30), 400 on 2,000 items of line(7,8). The paper's models have 86 million parameters or more, and
    its training sets are 5 to 50 times as large; its order of the ways is what is expected.
    """
    base = quickstart()["next_token"].replace(
        model={"layers": 2},
        stream=False,
        num_train=1000,
        max_steps=250,
        stop_when="never",
        num_evaluate=200,
        num_test=1024,
        evaluate_every=100,
    )
    sibling = base.replace(task=Sibling(parents=3, children=30))
    line = base.replace(task=Line(num_edges=7, num_labels=8), num_train=2000, max_steps=400)
    runs = {**_ways("sibling", sibling, 1.0), **_ways("line", line, 3.0)}
    runs["sibling-teacherless"] = sibling.replace(objective="teacherless")
    for length in (2, 4):
        runs[f"sibling-seed_of_{length}"] = sibling.replace(task={"seed_length": length})
    sampled = {"name": "autoregressive", "temperature": 1.0}
    runs["sibling-sampled"] = sibling.replace(task={"seed_length": 0}, decoder=sampled)
    return Study("creativity_small", _SOURCE, over_seeds(runs, SEEDS), _expected(runs))


def _ways(label: str, run: Run, teacherless: float) -> dict[str, Run]:
    """Return a run per way of training; `teacherless` is the weight of that part of a mixture."""
    parts = [{"objective": "next_token", "weight": 1.0}, {"objective": "teacherless", "weight": teacherless}]
    heads = {"name": "multi_token", "heads": {"name": "shared"}, "horizon": min(4, run.task.answer_length)}
    objectives: dict[str, Any] = {
        "next_token": "next_token",
        "mixture": {"name": "mixture", "parts": parts},
        "masked": "masked",
        "multi_token": heads,
    }
    return {f"{label}-{name}": run.replace(objective=objective) for name, objective in objectives.items()}


def _expected(runs: dict[str, Run]) -> list[Expectation]:
    """Return the paper's order of ways of training, and of lengths of seed strings."""
    figure = f"{_SOURCE}: at 86-90M parameters"
    above = f"{figure}, masked diffusion is above next-token"
    both = "at 2B parameters teacherless training, which looks ahead as these heads do, is above next-token"
    rows: list[tuple[str, str, str, Relation, float]] = [
        (
            "line-masked",
            "line-next_token",
            above,
            "at_least",
            0.0,
        ),
        ("sibling-masked", "sibling-next_token", f"{figure}, not so on sibling", "at_most", 0.0),
    ]
    for task in ("sibling", "line"):
        plain = f"{task}-next_token"
        equal = f"{figure}, teacherless (a mixture) is about equal"
        rows += [
            (f"{task}-mixture", plain, equal, "about", _EQUAL),
            (f"{task}-multi_token", plain, f"{_SOURCE}: {both}", "at_least", 0.0),
        ]
    longer = f"{_SOURCE}: longer seed strings are better"
    input_noise = f"{_SOURCE}: seed strings do as well as sampling, or better"
    rows += [
        ("sibling-next_token", "sibling-seed_of_2", longer, "at_least", 0.0),
        ("sibling-next_token", "sibling-seed_of_4", longer, "at_least", 0.0),
        ("sibling-next_token", "sibling-sampled", input_noise, "at_least", _EQUAL),
    ]
    return [_less(runs, *row) for row in rows]


def _less(
    runs: dict[str, Run], name: str, other: str, source: str, relation: Relation, tolerance: float
) -> Expectation:
    """Expect how the share of creative answers of one kind of run stands to that of another."""
    one = claim(runs[name], source, _MEASURE, relation, 0.0, tolerance)
    against = claim(runs[other], source, _MEASURE, relation, 0.0).select
    return one.model_copy(update={"group": name, "against": against, "against_group": other})
