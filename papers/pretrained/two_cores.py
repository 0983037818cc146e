"""What two cores can do of `pretrained_stars`: G(2,3) with 10 labels, 2,400 fresh problems, three seeds.

    unforced study papers/pretrained/two_cores.py:two_cores model.name_or_path=FOLDER --out runs/two_cores

Pretrained weights are trained through adapters of rank 16, random ones whole. The mask token is one of
SmolLM2's own: a new one would be trained with the whole table that its row is in.
"""

from unforced.config import Run
from unforced.models.pretrained import Pretrained
from unforced.objectives.next_token import NextToken
from unforced.recipes.pitfalls import WAYS
from unforced.recipes.pretrained import FOLDER
from unforced.study import Study, over_seeds
from unforced.tasks.path_star import PathStar


def two_cores() -> Study:
    """Three ways to train from two starts, at the same steps."""
    base = Run(
        task=PathStar(degree=2, path_length=3, num_nodes=10),
        model=Pretrained(lora_rank=16, frozen_weights="bf16", mask_token="<empty_output>"),
        objective=NextToken(),
        stream=True,
        batch_size=16,
        max_steps=150,
        learning_rate=1e-3,
        warmup_steps=10,
        schedule="cosine",
        evaluate_every=50,
        num_evaluate=32,
        num_test=100,
        checkpoint_every=150,
    )
    random = base.replace(
        model={"weights": "random", "lora_rank": None, "frozen_weights": "fp32"}, learning_rate=3e-4
    )
    runs = {
        f"{weights}-{way}": start.replace(**changes)
        for weights, start in (("pretrained", base), ("random", random))
        for way, changes in WAYS.items()
    }
    return Study("two_cores", "a small part of pretrained_stars", over_seeds(runs, [0, 1, 2]), given=[FOLDER])
