"""Three small models that differ in one thing each: how they are trained on the same problems."""

from unforced.config import Run
from unforced.models.gpt import GPT
from unforced.objectives.next_token import NextToken
from unforced.tasks.path_star import PathStar


def quickstart() -> dict[str, Run]:
    """The failure and two ways out: three runs on path-star G(2,4), side by side.

    next_token: guesses one arm in two. reversed: the same, with the answer written from the goal back to the
    start, so that each token is one look-up. teacherless: the whole answer predicted at once from mask
    tokens.
    """
    run = Run(
        task=PathStar(degree=2, path_length=4, num_nodes=9),
        model=GPT(
            layers=4,
            width=64,
            heads=4,
            rotary_base=100.0,
            token_shift=True,
            init_std=None,
            residual_init="plain",
            attention="math_fp32",
        ),
        objective=NextToken(),
        stream=True,
        max_steps=3000,
        batch_size=64,
        learning_rate=1e-3,
        schedule="cosine",
        min_learning_rate=1e-4,
        optimizer="muon",
        muon_factor=2.0,
        warmup_steps=100,
        betas=(0.9, 0.95),
        stop_when="solved",
        evaluate_every=250,
        num_evaluate=1000,
        num_test=5000,
        checkpoint_every=1000,
    )
    return {
        "next_token": run,
        "reversed": run.replace(order="reversed"),
        "teacherless": run.replace(objective="teacherless"),
    }
