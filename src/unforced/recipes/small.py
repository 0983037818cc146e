"""Small siblings of the paper's other model families: the same failure and the same ways out, in minutes."""

from unforced.config import Run
from unforced.models.gpt import GPT
from unforced.models.mamba import Mamba
from unforced.models.pretrained import Pretrained
from unforced.objectives.next_token import NextToken
from unforced.tasks.own_data import OwnData
from unforced.tasks.path_star import PathStar


def small_mamba() -> dict[str, Run]:
    """The paper's failure and two ways out with a small Mamba: 4 layers, width 64, 8,000 problems of G(2,5).

    next_token: until it has fitted them. reversed, teacherless: the same, as in the quickstart.
    """
    run = Run(
        task=PathStar(degree=2, path_length=5, num_nodes=11),
        model=Mamba(layers=4, width=64),
        objective=NextToken(),
        num_train=8000,
        max_steps=4000,
        batch_size=64,
        learning_rate=3e-3,
        schedule="cosine",
        min_learning_rate=1e-4,
        warmup_steps=100,
        betas=(0.9, 0.95),
        stop_when="fitted",
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


def small_pretrained() -> Run:
    """A language model of your own, `model.name_or_path=FOLDER_OR_NAME`, on 2,000 problems as text.

    The paper's rate and batch for pretrained models (`paper_gpt2_large`), on a hundredth of its problems. Few
    problems are measured: a language model takes as long to answer as to learn.
    """
    return Run(
        task=PathStar(degree=2, path_length=5, num_nodes=50),
        model=Pretrained(),
        objective=NextToken(),
        num_train=2000,
        batch_size=16,
        epochs=4,
        learning_rate=1e-5,
        evaluate_every=125,
        num_evaluate=50,
        num_test=200,
        checkpoint_every=250,
    )


def small_own_data() -> Run:
    """Your prompts and answers, `task.path=FILE`, with a small GPT that is trained on them from scratch."""
    return Run(
        task=OwnData(),
        model=GPT(layers=4, width=128, heads=4, token_shift=True, init_std=None, residual_init="plain"),
        objective=NextToken(),
        max_steps=2000,
        batch_size=64,
        learning_rate=1e-3,
        schedule="cosine",
        min_learning_rate=1e-4,
        warmup_steps=100,
        betas=(0.9, 0.95),
        stop_when="fitted",
        evaluate_every=250,
        num_evaluate=1000,
        num_test=5000,
        checkpoint_every=1000,
    )
