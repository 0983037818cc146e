"""`data export`, `data import` and `data lm-eval`: problems in files, and for others to ask."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from unforced.cli.options import AsJson, Overrides

if TYPE_CHECKING:
    from unforced.tasks.base import Order


def export_problems(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, FILE.py:FUNCTION, or a run folder.")],
    out: Annotated[
        Path,
        typer.Option("--out", "--to", help="File to write: .txt (the paper's lines), .parquet or .jsonl."),
    ],
    overrides: Overrides = None,
    split: Annotated[
        str, typer.Option(help="train, validation or test, or one that the task names.")
    ] = "train",
    count: Annotated[int, typer.Option(min=1, help="How many problems.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Write the problems of a run's split to a file.

    Tables (.parquet) and objects (.jsonl) hold texts and symbols, and mark which symbols of an answer are
    decisive (only lookahead gets them right) and which the true answer before them gives away.

    Example: unforced data export paper_gpt_mini task.degree=5 --split test --count 20000 --out test.txt

    Example: unforced data export FILE.py:recipe --count 5000 --to train.jsonl
    """
    from unforced.data.files import most_problems, write_problems
    from unforced.errors import UserError
    from unforced.recipes import resolve_run
    from unforced.tasks.sampling import check_split, split_size
    from unforced.training.source import split_problems

    run = resolve_run(recipe, overrides or [])
    check_split(run.task, split)
    if split == "train" and run.num_train is not None and count > run.num_train:
        raise UserError(f"--count: the training set has num_train={run.num_train} problems, not {count}")
    size = split_size(run.task, split)
    if size is not None and count > size:
        raise UserError(f"--count: {run.task} has {size} problems in its {split} split, not {count}")
    if count > most_problems(run.task):
        raise UserError(
            f"--count: a file takes at most {most_problems(run.task)} problems of {run.task}, not {count}"
        )
    origin = {"seed": run.seed, "split": split}
    if split == "train" and run.goals_per_graph > 1:  # not those of the split's stream
        origin = {"goals_per_graph": run.goals_per_graph, "run_seed": run.seed}
    write_problems(out, run.task, split_problems(run, split, count), run.order, origin)
    facts = {
        "file": str(out),
        "problems": count,
        "task": run.task.model_dump(),
        "split": split,
        "seed": run.seed,
    }
    print(json.dumps(facts) if as_json else f"{out}: {count} problems of the {split} split of {run.task}")


def write_lm_eval(
    out: Annotated[Path, typer.Option("--out", "--to", help="Folder to write the task's YAML file into.")],
    fields: Annotated[
        list[str] | None, typer.Argument(help="Fields of the task, as in task.degree=3.", show_default=False)
    ] = None,
    task: Annotated[str | None, typer.Option(help="The task, as in path_star (unforced list tasks).")] = None,
    order: Annotated[str, typer.Option(help="forward or reversed answers.")] = "forward",
    count: Annotated[int, typer.Option(min=1, help="Held-out problems.")] = 1000,
    shots: Annotated[int, typer.Option(min=0, help="Worked examples; --num_fewshot overrides it.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the problems.")] = 0,
) -> None:
    """Write a task for EleutherAI's lm-evaluation-harness, which scores answers by our verifier.

    Example: unforced data lm-eval --task path_star task.degree=3 --out tasks
    """
    from unforced.cli.parts import settings_of_parts
    from unforced.config import build_task
    from unforced.errors import UserError, unknown
    from unforced.integrations.lm_eval import write_task
    from unforced.registry import TASKS

    chosen = settings_of_parts(fields or [], {"task": task})["task"]
    if "name" not in chosen:
        raise UserError(f"say which task, with --task and one of {', '.join(TASKS.names())}")
    if order not in ("forward", "reversed"):
        raise unknown("order", order, ["forward", "reversed"])
    built = build_task(chosen.pop("name"), chosen)
    path = write_task(out, built, cast("Order", order), seed, count, shots)
    print(
        f"{path}: lm_eval --include_path {out} --tasks {path.stem} --model hf --model_args pretrained=MODEL"
    )


def import_problems(
    file: Annotated[
        Path, typer.Argument(help="A .parquet, .jsonl or .txt file, the last of the paper's lines.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "--to", help="Also write them here, as .txt, .parquet or .jsonl.")
    ] = None,
    task: Annotated[str, typer.Option(help="The task whose problems they are.")] = "path_star",
    known: Annotated[list[str] | None, typer.Argument(help="Fields of the task, as in num_nodes=50.")] = None,
    order: Annotated[str | None, typer.Option(help="Order of the answers, forward or reversed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read and verify problems from a file; say what they are.

    Example: unforced data import test.txt num_nodes=50 --out test.parquet
    """
    import numpy as np

    from unforced.config import assignments
    from unforced.data.files import check_suffix, origin_of, read_problems, write_problems
    from unforced.errors import unknown
    from unforced.registry import TASKS

    if order not in (None, "forward", "reversed"):
        raise unknown("order", order, ["forward", "reversed"])
    if out is not None:
        check_suffix(out)
    read_task, problems, read_order = read_problems(
        file, TASKS.get(task), cast("Order | None", order), assignments(known or [])
    )
    owners = np.bincount(read_task.owners(problems), minlength=len(read_task.splits)).tolist()
    owned_by = dict(zip(read_task.splits, owners, strict=True))
    distinct = len(np.unique(read_task.keys(problems)))
    if out is not None:
        write_problems(out, read_task, problems, read_order, {"source": file.name, **origin_of(file)})
    if as_json:
        facts = {"file": str(file), "task": read_task.model_dump(), "order": read_order}
        print(json.dumps(facts | {"problems": len(problems), "distinct": distinct, "owned_by": owned_by}))
        return
    print(f"{file}: {len(problems)} problems ({distinct} distinct) of {read_task}, answers {read_order}")
    print("of which our splits own " + ", ".join(f"{name} {count}" for name, count in owned_by.items()))
    if out is not None:
        print(f"written to {out}")
