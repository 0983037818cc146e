"""What two cores can do of `pretrained_stars`: 10 labels, 2,400 or 3,200 fresh problems, three seeds.

    unforced study papers/pretrained/two_cores.py:short_paths model.name_or_path=FOLDER --out runs/short_paths
    unforced study papers/pretrained/two_cores.py:long_paths model.name_or_path=FOLDER --out runs/long_paths

Pretrained weights are trained through adapters of rank 16, random ones whole. The mask token is one of
SmolLM2's own: a new one would be trained with the whole table that its row is in.
"""

from unforced.config import Run
from unforced.models.pretrained import Pretrained
from unforced.objectives.next_token import NextToken
from unforced.recipes.pitfalls import WAYS, on_star
from unforced.recipes.pretrained import FOLDER
from unforced.study import Study, over_seeds
from unforced.tasks.path_star import PathStar

SEEDS = (0, 1, 2)
SOURCE = "a small part of pretrained_stars"


def short_paths() -> Study:
    """G(2,3): three ways to train from two starts, 150 steps."""
    starts = {"pretrained": _from_text(150), "random": _from_nothing(150)}
    runs = {f"{weights}-{way}": run for weights, start in starts.items() for way, run in _ways(start).items()}
    return Study("short_paths", SOURCE, over_seeds(runs, SEEDS), given=[FOLDER])


def long_paths() -> Study:
    """G(2,5), of which the paper speaks: three ways to train from pretrained weights, 200 steps."""
    start = on_star(_from_text(200), 2, 5, 10)
    runs = {f"pretrained-{way}": run for way, run in _ways(start).items()}
    return Study("long_paths", SOURCE, over_seeds(runs, SEEDS), given=[FOLDER])


def _from_text(steps: int) -> Run:
    """Return a run on G(2,3) that starts from pretrained weights."""
    return Run(
        task=PathStar(degree=2, path_length=3, num_nodes=10),
        model=Pretrained(lora_rank=16, frozen_weights="bf16", mask_token="<empty_output>"),
        objective=NextToken(),
        stream=True,
        batch_size=16,
        max_steps=steps,
        learning_rate=1e-3,
        warmup_steps=10,
        schedule="cosine",
        evaluate_every=50,
        num_evaluate=32,
        num_test=100,
        checkpoint_every=150,
    )


def _from_nothing(steps: int) -> Run:
    """Return the same run from random weights."""
    model = {"weights": "random", "lora_rank": None, "frozen_weights": "fp32"}
    return _from_text(steps).replace(model=model, learning_rate=3e-4)


def _ways(start: Run) -> dict[str, Run]:
    return {way: start.replace(**changes) for way, changes in WAYS.items()}
