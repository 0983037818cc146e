"""Tables of other papers on the same task, with the objectives that they compare."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unforced.config import Run
from unforced.models.gpt import GPT
from unforced.objectives.next_token import NextToken
from unforced.recipes.objectives import claim
from unforced.recipes.pitfalls import SEEDS, on_star
from unforced.recipes.quickstart import quickstart
from unforced.study import Study, over_seeds
from unforced.tasks.base import Task
from unforced.tasks.crossing_lines import CrossingLines
from unforced.tasks.path_star import PathStar

_MARGIN = 0.02
_ILM_PROBLEMS = 50_000
_Objective = str | dict[str, Any]


def _heads(kind: str, horizon: int) -> _Objective:
    """Return multi-token prediction of the next `horizon` tokens with heads of a kind."""
    return {"name": "multi_token", "heads": {"name": kind}, "horizon": horizon}


def top_table5() -> Study:
    """Path-star by six objectives, as in Table 5 of TOP (arXiv 2508.19228), over five seeds.

    8 layers, 6 heads, width 384, 300,000 problems with 30 labels, batch 4096, 100 epochs, 3e-3 down a cosine
    to 1e-3 after 1,500 steps of warm-up. What the paper does not state is as in `paper_gpt_mini`. Its heads
    predict 2 or 4 tokens in parallel (MTP) or in sequence (DeepSeek-MTP); here no more than an answer has.
    """
    run = Run(
        task=PathStar(degree=3, path_length=3, num_nodes=30),
        model=GPT(layers=8, width=384, heads=6, positions="learned", tie_embeddings=True),
        objective=NextToken(),
        num_train=300_000,
        batch_size=4096,
        epochs=100,
        learning_rate=3e-3,
        schedule="cosine",
        min_learning_rate=1e-3,
        warmup_steps=1500,
        evaluate_every=500,
        checkpoint_every=500,
    )
    stars = ((3, 3), (3, 5), (5, 3), (5, 5))

    def objectives(length: int) -> dict[str, _Objective]:
        kinds = {"mtp": "parallel", "deepseek_mtp": "sequential"}
        heads = {f"{name}_{n}": _heads(kind, min(n, length)) for name, kind in kinds.items() for n in (2, 4)}
        return {"next_token": "next_token", "token_order": "token_order", **heads}

    values = {
        "next_token": (0.338, 0.325, 0.195, 0.001),
        "mtp_2": (1.0, 0.590, 0.196, 0.001),
        "mtp_4": (1.0, 1.0, 1.0, 0.195),
        "deepseek_mtp_2": (1.0, 0.325, 1.0, 0.192),
        "deepseek_mtp_4": (1.0, 0.336, 1.0, 0.193),
        "token_order": (1.0, 1.0, 1.0, 1.0),
    }
    source = "TOP, arXiv 2508.19228, Table 5"
    return _on_stars("top_table5", source, run, 30, stars, objectives, values)


def nextlat_fig6() -> Study:
    """Path-star by five objectives, as in Fig. 6 of NextLat (arXiv 2511.05963), over five seeds.

    12 layers, 6 heads, width 384, rotary positions, untied embeddings, 200,000 problems with 100 labels,
    batch 512, 5e-4 constant, weight decay 0.1, betas 0.9 and 0.95, 20,000 steps. LayerNorm and GELU stand
    for its RMSNorm and SwiGLU, and answers have no end token. multi_token predicts as far as next_latent
    rolls out. The values are read off the figure, to half a point.
    """
    run = Run(
        task=PathStar(degree=2, path_length=10, num_nodes=100),
        model=GPT(layers=12, width=384, heads=6, positions="rotary"),
        objective=NextToken(),
        num_train=200_000,
        batch_size=512,
        max_steps=20_000,
        learning_rate=5e-4,
        weight_decay=0.1,
        betas=(0.9, 0.95),
        evaluate_every=500,
        checkpoint_every=500,
    )
    stars = ((2, 10), (5, 5), (7, 7))

    def objectives(length: int) -> dict[str, _Objective]:
        others = ("next_token", "joint", "belief_state", "next_latent")
        return {name: name for name in others} | {"multi_token": _heads("parallel", length - 1)}

    values = {
        "next_token": (0.494, 0.186, 0.126),
        "multi_token": (0.662, 0.212, 0.126),
        "joint": (0.695, 0.473, 0.117),
        "belief_state": (0.989, 0.999, 0.097),
        "next_latent": (0.971, 0.998, 0.943),
    }
    source = "NextLat, arXiv 2511.05963, Fig. 6 (read off the figure)"
    return _on_stars("nextlat_fig6", source, run, 100, stars, objectives, values)


def ilm_stars() -> Study:
    """Stars and crossing lines by three objectives, as in ILM (arXiv 2505.05755), over five seeds.

    Easy: path-star G(3,5) with 20 labels; medium and hard: lines that cross. 50,000 problems. Prompts and
    answers are ours: its prompts list edges without separators, and its answers are edges. The model and
    training are those of `paper_gpt_mini`, with rotary positions, 100 epochs and weights untied.
    """
    base = Run(
        task=PathStar(degree=3, path_length=5, num_nodes=20),
        model=GPT(layers=12, width=384, heads=6, positions="rotary"),
        objective=NextToken(),
        num_train=_ILM_PROBLEMS,
        batch_size=256,
        epochs=100,
        learning_rate=5e-4,
        warmup_steps=100,
        evaluate_every=1000,
        checkpoint_every=1000,
    )
    hard = CrossingLines(degree=5, shortest=6, longest=12, min_after=5, num_nodes=56)
    return _on_ilm_stars("ilm_stars", base, {"easy": base.task, "medium": CrossingLines(), "hard": hard})


def ilm_stars_small() -> Study:
    """ILM's medium star graphs (arXiv 2505.05755), which are crossing lines, at laptop size, five seeds.

    The quickstart's model on the 50,000 problems of the paper, up to 2,500 steps of 64 (3.2 epochs) at a
    constant rate after warm-up; a run ends when it is solved. The paper's model has 12 layers.
    """
    base = quickstart()["next_token"].replace(
        stream=False,
        num_train=_ILM_PROBLEMS,
        schedule="constant",
        max_steps=2500,
        evaluate_every=500,
        num_evaluate=500,
        num_test=2000,
    )
    return _on_ilm_stars("ilm_stars_small", base, {"medium": CrossingLines()}, diagnose=True)


def _on_ilm_stars(name: str, base: Run, tasks: Mapping[str, Task], diagnose: bool = False) -> Study:
    """Return the study of three objectives on some of ILM's star graphs, with the accuracies expected."""
    values = {
        "next_token": {"easy": 0.323, "medium": 0.750, "hard": 0.230},
        "masked": {"easy": 1.0, "medium": 0.365, "hard": 0.210},
        "insertion": {"easy": 1.0, "medium": 1.0, "hard": 0.991},
    }
    source = "ILM, arXiv 2505.05755, its table of star graphs"
    runs: dict[str, Run] = {}
    expected = []
    for label, task in tasks.items():
        for way, accuracies in values.items():
            one = base.replace(task=task, objective=way)
            runs[f"{label}-{way}"] = one
            expected.append(claim(one, source, "test.free.exact", "about", accuracies[label], tolerance=0.05))
    return Study(name, source, over_seeds(runs, SEEDS), expected, diagnose=diagnose)


def _on_stars(
    name: str,
    source: str,
    run: Run,
    num_nodes: int,
    stars: Sequence[tuple[int, int]],
    objectives: Callable[[int], Mapping[str, _Objective]],
    values: Mapping[str, Sequence[float]],
) -> Study:
    """Return the study of objectives on path-stars of (degree, path_length), with the accuracies expected.

    objectives: by name, for answers of a length. values: of each objective, an accuracy per star.
    """
    runs: dict[str, Run] = {}
    expected = []
    for column, (degree, length) in enumerate(stars):
        for way, objective in objectives(length).items():
            one = on_star(run, degree, length, num_nodes).replace(objective=objective)
            runs[f"{degree}x{length}-{way}"] = one
            value = values[way][column]
            expected.append(claim(one, source, "test.free.exact", "about", value, _MARGIN))
    return Study(name, source, over_seeds(runs, SEEDS), expected)
