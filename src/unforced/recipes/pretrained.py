"""Path-star by a small pretrained language model, and by the same architecture from random weights."""

from unforced.config import Run
from unforced.expectations import Expectation
from unforced.models.pretrained import Pretrained
from unforced.objectives.next_token import NextToken
from unforced.recipes.pitfalls import SEEDS, SOURCE, WAYS, cheat, on_star, solved
from unforced.study import Study, over_seeds
from unforced.tasks.path_star import PathStar

FOLDER = "model.name_or_path"
STARS = ((2, 3), (2, 5), (5, 5))
WEIGHTS = ("pretrained", "random")


def pretrained_stars() -> Study:
    """Whether training on text before changes anything: three stars, three ways to train, from two starts.

    Give `model.name_or_path=FOLDER_OR_NAME`; papers/pretrained makes a folder of a small one. 200,000
    problems with 50 labels, as text, once; all weights are trained, batch 64, at 1e-4. Expected is what the
    paper says of pretrained Transformers (GPT-2 Large) and of those from scratch; of G(2,3) it says nothing.
    """
    base = Run(
        task=PathStar(degree=2, path_length=5, num_nodes=50),
        model=Pretrained(),
        objective=NextToken(),
        num_train=200_000,
        batch_size=64,
        epochs=1,
        learning_rate=1e-4,
        warmup_steps=100,
        evaluate_every=500,
        num_evaluate=500,
        num_test=2000,
        checkpoint_every=1000,
        keep_checkpoints=1,
    )
    runs: dict[str, Run] = {}
    expected: list[Expectation] = []
    for degree, length in STARS:
        for weights in WEIGHTS:
            one = on_star(base, degree, length, 50).replace(model={"weights": weights})
            ways = {way: one.replace(**changes) for way, changes in WAYS.items()}
            runs |= {f"{degree}x{length}-{weights}-{way}": run for way, run in ways.items()}
            if length == 5:
                expected += [_of(weights, each) for each in claims(ways)]
    source = f"{SOURCE}, where models are larger and train longer"
    return Study("pretrained_stars", source, over_seeds(runs, SEEDS), expected, diagnose=True, given=[FOLDER])


def claims(ways: dict[str, Run]) -> list[Expectation]:
    """Return what the paper says of the three ways to train on a star."""
    said = [*cheat(ways["next_token"]), solved(ways["reversed"])]
    return [*said, solved(ways["teacherless"])] if ways["teacherless"].task.chance == 0.5 else said


def _of(weights: str, claim: Expectation) -> Expectation:
    """Let a claim speak of the runs that start from such weights."""
    select = claim.select | {"model.weights": weights}
    return claim.model_copy(update={"select": select, "group": f"{claim.group}, {weights} weights"})
