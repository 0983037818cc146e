"""Tables of other papers on the same task: the rows that unforced can train."""

from collections.abc import Mapping

from unforced.config import Run
from unforced.models.gpt import GPT
from unforced.objectives.next_token import NextToken
from unforced.recipes.pitfalls import SEEDS, claim, on_star
from unforced.study import Study, over_seeds
from unforced.tasks.path_star import PathStar

_MARGIN = 0.02


def top_table5() -> Study:
    """Path-star by next-token prediction, as in Table 5 of TOP (arXiv 2508.19228), over five seeds.

    8 layers, 6 heads, width 384, 300,000 problems with 30 labels, batch 4096, 100 epochs, 3e-3 down a cosine
    to 1e-3 after 1,500 steps of warm-up. What the paper does not state is as in `paper_gpt_mini`.
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
    values = {(3, 3): 0.338, (3, 5): 0.325, (5, 3): 0.195, (5, 5): 0.001}
    return _on_stars("top_table5", "TOP, arXiv 2508.19228, Table 5", run, 30, values)


def nextlat_fig6() -> Study:
    """Path-star by next-token prediction, as in Fig. 6 of NextLat (arXiv 2511.05963), over five seeds.

    12 layers, 6 heads, width 384, 200,000 problems with 100 labels, batch 512, 5e-4 constant, weight decay
    0.1, betas 0.9 and 0.95, 20,000 steps. Its values are read off the figure, to half a point.
    """
    run = Run(
        task=PathStar(degree=2, path_length=10, num_nodes=100),
        model=GPT(layers=12, width=384, heads=6, positions="learned", tie_embeddings=True),
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
    values = {(2, 10): 0.494, (5, 5): 0.186, (7, 7): 0.126}
    return _on_stars(
        "nextlat_fig6", "NextLat, arXiv 2511.05963, Fig. 6 (read off the figure)", run, 100, values
    )


def _on_stars(
    name: str, source: str, run: Run, num_nodes: int, values: Mapping[tuple[int, int], float]
) -> Study:
    """Return the study of a run on path-stars of (degree, path_length), with the accuracies expected."""
    runs: dict[str, Run] = {}
    expected = []
    for (degree, length), value in values.items():
        one = on_star(run, degree, length, num_nodes)
        runs[f"{degree}x{length}-next_token"] = one
        expected.append(claim(one, source, "test.free.exact", "about", value, _MARGIN))
    return Study(name, source, over_seeds(runs, SEEDS), expected)
