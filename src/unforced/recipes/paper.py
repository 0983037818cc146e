"""The paper's from-scratch setting, cleaned up and with its code's quirks kept.

Source: arXiv 2403.06963; public code at gregorbachmann/Next-Token-Failures@b925a1e and its issue #3.
"""

from unforced.config import Run
from unforced.models.gpt import GPT
from unforced.models.pretrained import Pretrained
from unforced.objectives.next_token import NextToken
from unforced.tasks.path_star import PathStar


def paper_gpt_mini() -> Run:
    """The paper's GPT-Mini on path-star: 12 layers, width 384, 6 heads, 200,000 problems, 500 epochs.

    AdamW at 5e-4, batch 256 (the settings quoted in issue #3 of the paper's code). The schedule, warm-up
    and clipping are ours: the paper does not state them.
    """
    return Run(
        task=PathStar(degree=2, path_length=5, num_nodes=50),
        model=GPT(layers=12, width=384, positions="learned", tie_embeddings=True),
        objective=NextToken(),
        num_train=200_000,
        batch_size=256,
        epochs=500,
        learning_rate=5e-4,
        warmup_steps=100,
        evaluate_every=1000,
        checkpoint_every=1000,
    )


def paper_mamba() -> Run:
    """The same with Mamba: 12 layers, width 384, state 16, convolution 4, expansion 2.

    The paper reports Mamba without its size; this one is arXiv 2510.26745's for from-scratch training on
    path-star. The rest is `paper_gpt_mini`.
    """
    return paper_gpt_mini().replace(model="mamba")


def paper_gpt2_large() -> Run:
    """The paper's pretrained Transformer on path-star: GPT-2 Large (774 million weights), 100 epochs.

    AdamW at 1e-5, 100 epochs (issue #3 of the paper's code), batch 16 (its README), problems as text. Weights
    are fp32, products bf16 where the processor has it; activations are computed twice to fit one card. The
    rest is `paper_gpt_mini`.
    """
    return paper_gpt_mini().replace(
        model=Pretrained(name_or_path="openai-community/gpt2-large", gradient_checkpointing=True),
        batch_size=16,
        epochs=100,
        learning_rate=1e-5,
    )


def paper_pythia() -> Run:
    """The same with Pythia-410m, which the paper's code offers, too.

    Its last revision, where that code takes the one of step 43,000. The rest is `paper_gpt2_large`.
    """
    return paper_gpt2_large().replace(model={"name_or_path": "EleutherAI/pythia-410m"})


def paper_code() -> Run:
    """The released code's README command, with the quirks that change results kept.

    Kept: a cosine that counts samples as steps (so the rate stays constant after warm-up), a first step of
    rate 0, learned positions that start at N(0, 1), residual outputs without scaled init, weight decay 0,
    no clipping. Not kept: fp16 (here bf16 where the processor has it).
    """
    num_train, epochs = 200_000, 100
    return Run(
        task=PathStar(degree=2, path_length=5, num_nodes=50),
        model=GPT(
            layers=6,
            width=384,
            positions="learned",
            position_std=1.0,
            residual_init="plain",
            tie_embeddings=True,
        ),
        objective=NextToken(),
        num_train=num_train,
        batch_size=256,
        epochs=epochs,
        learning_rate=1e-4,
        schedule="cosine",
        schedule_steps=num_train * epochs,
        min_learning_rate=1e-5,
        warmup_steps=100,
        warmup_from_zero=True,
        weight_decay=0.0,
        clip_norm=None,
        evaluate_every=1000,
        checkpoint_every=1000,
    )
