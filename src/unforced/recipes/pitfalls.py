"""The paper's tables as studies: what teacher forcing does to path-star, and two ways out.

Expected are the paper's claims, not the values of its tables.
"""

from unforced.config import Run
from unforced.expectations import Expectation, Relation
from unforced.recipes.paper import paper_gpt2_large, paper_gpt_mini, paper_mamba
from unforced.recipes.quickstart import quickstart
from unforced.study import Study, over_seeds

SOURCE = "Bachmann & Nagarajan, ICML 2024 (arXiv 2403.06963), Sec. 5"
SEEDS = range(5)
WAYS: dict[str, dict[str, str]] = {
    "next_token": {},
    "reversed": {"order": "reversed"},
    "teacherless": {"objective": "teacherless"},
}
_MARGIN = 0.03  # around 1/d, and below 100%


def pitfalls() -> Study:
    """The paper's tables at its size: six topologies, three model families, three ways to train, five seeds.

    N = 50 labels, as in the paper's code, and as many as there are nodes where those are more.
    """
    families = {"gpt": paper_gpt_mini(), "mamba": paper_mamba(), "gpt2_large": paper_gpt2_large()}
    runs: dict[str, Run] = {}
    expected: list[Expectation] = []
    for family, base in families.items():
        for degree, length in ((2, 5), (5, 5), (10, 5), (20, 5), (2, 10), (2, 20)):
            one = on_star(base, degree, length, max(50, degree * (length - 1) + 1))
            ways = {way: one.replace(**changes) for way, changes in WAYS.items()}
            runs |= {f"{family}-{degree}x{length}-{way}": run for way, run in ways.items()}
            expected += [fitted(ways["next_token"]), *cheat(ways["next_token"]), solved(ways["reversed"])]
            if (degree, length) == (2, 5):
                expected.append(solved(ways["teacherless"]))
    return Study("pitfalls", SOURCE, over_seeds(runs, SEEDS), expected, diagnose=True)


def pitfalls_small() -> Study:
    """The same tables in about 70 minutes on two cores: three small topologies, a small model, five seeds.

    The quickstart's model. Three ways see a stream of fresh problems; `fixed` is next-token prediction on
    2,000 problems, until it has fitted them: the paper's 100% on the training set, which a stream lacks.
    """
    runs: dict[str, Run] = {}
    expected: list[Expectation] = []
    for degree, length, steps in ((2, 4, 3000), (3, 4, 3000), (2, 5, 4500)):
        one = on_star(quickstart()["next_token"], degree, length, degree * (length - 1) + 3).replace(
            max_steps=steps
        )
        ways = {way: one.replace(**changes) for way, changes in WAYS.items()}
        ways["fixed"] = one.replace(stream=False, num_train=2000, stop_when="fitted")
        runs |= {f"{degree}x{length}-{way}": run for way, run in ways.items()}
        expected += [fitted(ways["fixed"]), *cheat(ways["fixed"]), *cheat(ways["next_token"])]
        expected += [solved(ways["reversed"]), solved(ways["teacherless"])]
    source = f"{SOURCE}, where graphs and models are larger"
    claims = [each.model_copy(update={"source": each.source.replace(SOURCE, source)}) for each in expected]
    return Study("pitfalls_small", source, over_seeds(runs, SEEDS), claims, diagnose=True)


def on_star(run: Run, degree: int, path_length: int, num_nodes: int) -> Run:
    """Return the same run on another path-star graph."""
    return run.replace(task={"degree": degree, "path_length": path_length, "num_nodes": num_nodes})


def fitted(run: Run) -> Expectation:
    """Expect that next-token prediction fits its training set."""
    return claim(run, f"{SOURCE}: training accuracy 100%", "train.free.exact", "at_least", 1.0)


def cheat(run: Run) -> list[Expectation]:
    """Expect held-out answers at chance, though what follows the first hop is right."""
    chance = run.task.chance
    assert chance is not None
    return [
        claim(run, f"{SOURCE}: held-out accuracy at most 1/d", "test.free.exact", "at_most", chance),
        claim(run, f"{SOURCE}: later tokens fitted by the cheat", "test.forced.token_2", "at_least", 1.0),
    ]


def solved(run: Run) -> Expectation:
    """Expect that what removes the cheat, or the need to look ahead, solves the task."""
    return claim(run, f"{SOURCE}: solved", "test.free.exact", "at_least", 1.0)


def claim(
    run: Run, source: str, measure: str, relation: Relation, value: float, tolerance: float = _MARGIN
) -> Expectation:
    """Expect a measure of a run and its likes: the same task, kind of model, objective, order and data."""
    tree = run.tree()
    select = {f"{part}.name": tree[part]["name"] for part in ("task", "model", "objective")}
    select |= {f"task.{key}": tree["task"][key] for key in ("degree", "path_length", "num_nodes")}
    return Expectation(
        group=run.title,
        select=select | {"order": run.order, "stream": run.stream},
        measure=measure,
        relation=relation,
        value=value,
        tolerance=tolerance,
        source=source,
    )
