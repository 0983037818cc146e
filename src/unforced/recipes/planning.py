"""Planning in a graph that is in the weights: which concatenations of what was seen does a model find?"""

from typing import Any

from unforced.config import Run
from unforced.models.gpt import GPT
from unforced.objectives.next_token import NextToken
from unforced.recipes.objectives import claim
from unforced.recipes.pitfalls import SEEDS
from unforced.study import Study, over_seeds
from unforced.tasks.dag_paths import NTI, DagPaths

_TOLERANCES = (0.05, 0.05, 0.05, 0.15)  # few held-out pairs of a graph have degree 3
_OBJECTIVES: dict[str, str | dict[str, Any]] = {
    "next_token": "next_token",
    "parallel": {"name": "multi_token", "heads": {"name": "parallel"}, "horizon": 2},
    "sequential": {"name": "multi_token", "heads": {"name": "sequential"}, "horizon": 2},
    "transfer": {"name": "multi_token", "heads": {"name": "transfer", "layers": 1}, "horizon": 2},
}


def alpine_small() -> Study:
    """The degree table of NTI (arXiv 2509.23186) at its size: one layer, one head, width 120, five graphs.

    100 nodes; each seed has a graph of its own. next_token, and two tokens ahead with parallel, sequential
    (DeepSeek) and transfer heads (NTI, one layer). Steps, batch and rate are ours, for half a minute a run.
    """
    base = Run(
        task=DagPaths(),
        model=GPT(layers=1, width=120, heads=1, positions="learned", tie_embeddings=True),
        objective=NextToken(),
        max_steps=800,
        batch_size=64,
        learning_rate=1e-3,
        schedule="cosine",
        min_learning_rate=1e-4,
        warmup_steps=50,
        betas=(0.9, 0.95),
        weight_decay=0.1,
        evaluate_every=200,
        num_evaluate=200,
        num_test=2100,
        checkpoint_every=1000,
    )
    runs = {name: base.replace(objective=objective) for name, objective in _OBJECTIVES.items()}
    published = {(each.method, each.setting): each.value for each in DagPaths.published}
    methods = list(dict.fromkeys(method for method, _ in published))
    expected = []
    for run, method in zip(runs.values(), methods, strict=True):
        for degree, tolerance in enumerate(_TOLERANCES):
            value = published[method, f"degree {degree}"]
            one = claim(run, str(NTI), f"test.slice.degree_{degree}.free.exact", "about", value, tolerance)
            chosen = {key: wanted for key, wanted in one.select.items() if key != "task.graph_seed"}
            expected.append(one.model_copy(update={"select": chosen, "group": f"{base.task}, {method}"}))
    # graph 0 has no held-out pair of degree 3
    seeded = over_seeds(runs, SEEDS)
    own_graphs = {name: run.replace(task={"graph_seed": run.seed + 1}) for name, run in seeded.items()}
    return Study("alpine_small", str(NTI), own_graphs, expected)
