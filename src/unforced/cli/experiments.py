"""Verbs that train and measure: `train`, `evaluate`, `quickstart`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unforced.cli.asking import (
    NUM_PROBLEMS,
    AnswerOrder,
    Chat,
    ModelName,
    Seed,
    Shots,
    Show,
    TaskName,
    Wanted,
    ask_model,
)
from unforced.errors import DIVERGED, UserError

if TYPE_CHECKING:
    from signal import Signals

Overrides = Annotated[
    list[str] | None, typer.Argument(help="dotted.key=value, as in task.degree=5 seed=3", show_default=False)
]
_SOURCE = "Bachmann & Nagarajan, ICML 2024 (arXiv 2403.06963)"
Trackers = Annotated[
    list[str] | None,
    typer.Option(help="tensorboard, wandb or trackio: also gets every metric; can be given again."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name, FILE.py:FUNCTION, or the path of a run's config.json.")
    ],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder. [default: runs/RECIPE-FINGERPRINT]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder, bit for bit.")
    ] = False,
    tracker: Trackers = None,
    as_json: AsJson = False,
) -> None:
    """Train one run.

    Exit code 3: training diverged (its loss or gradient was not finite) and ended; results are of the last
    finite weights.

    Example: unforced train quickstart.teacherless seed=3 --out runs/mine
    """
    from unforced.cli.progress import is_first_process, watch_run
    from unforced.cli.tracking import check_trackers, track
    from unforced.experiment import run_experiment
    from unforced.files import read_json
    from unforced.recipes import resolve_run
    from unforced.reporting.tables import show_accuracy

    trackers = tracker or []
    check_trackers(trackers)
    run = resolve_run(recipe, overrides or [])
    out = out or Path("runs") / f"{Path(recipe.removesuffix('.json')).name}-{run.fingerprint[:8]}"
    with watch_run(run, quiet=as_json) as progress, track(progress, trackers, run, out) as observer:
        outcome = run_experiment(run, out, observer, resume)
    if outcome.stopped_by is not None:
        if is_first_process():
            _say_stopped(outcome.stopped_by, f"the checkpoint is in {out}, go on with --resume", as_json)
        raise typer.Exit(128 + outcome.stopped_by)
    if is_first_process():
        result = read_json(out / "result.json")
        if as_json:
            print(json.dumps(result))
        else:
            ended = {"done": "already done", "diverged": "diverged"}.get(outcome.reason, "done")
            print(f"{ended}: {out} ({result['steps']} steps)")
            show_accuracy(result, run)
    if outcome.reason == "diverged":
        raise typer.Exit(DIVERGED)


def _say_stopped(number: "Signals", going_on: str, as_json: bool) -> None:
    """Say what stopped the training and how to go on, but not where JSON is awaited."""
    print(f"stopped by {number.name}; {going_on}", file=sys.stderr if as_json else sys.stdout)


def evaluate(
    evaluator: Annotated[
        list[str] | None,
        typer.Argument(
            help="A run folder, and decoder=NAME for another decoder; with --model, the task's fields.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="train, validation or test, or one that the task names. [default: train, test]"),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Problems per split (default: the run's num_test; with --model, {NUM_PROBLEMS})."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Measure on the problems of this .txt or .parquet file.")
    ] = None,
    model: ModelName = None,
    task: TaskName = None,
    shots: Shots = None,
    seed: Seed = None,
    order: AnswerOrder = None,
    chat: Chat = False,
    show: Show = None,
    as_json: AsJson = False,
) -> None:
    """Measure a run's newest weights, forced and free; or ask a model that was not trained here, in words.

    Example: unforced evaluate runs/mine --split test --count 5000

    Example: unforced evaluate runs/mine decoder=autoregressive decoder.temperature=1

    Example: unforced evaluate --model FOLDER_OR_NAME --task path_star degree=3 path_length=4 --shots 5
    """
    wanted = Wanted(task, shots, seed, order, chat, show)
    given = evaluator or []
    if model is None:
        wanted.check_unused()
        folders = [each for each in given if "=" not in each or Path(each).exists()]
        if len(folders) != 1:
            raise UserError(f"give one run folder, not {len(folders)}; or a model to ask: --model and --task")
        decoder = [each for each in given if each not in folders]
        evaluate_folder(Path(folders[0]), decoder, split, count, data, as_json)
        return
    for option, value in {"--split": split, "--data": data}.items():
        if value:
            raise UserError(f"{option} is for run folders; --model is asked test problems; drop {option}")
    ask_model(model, given, wanted, count, as_json)


def evaluate_folder(
    run_dir: Path,
    decoder: list[str],
    split: list[str] | None,
    count: int | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Measure a run's newest weights, forced and free side by side; `decoder` may name another.

    Raises UserError.
    """
    from unforced.config import other_decoder
    from unforced.experiment import evaluate_file, evaluate_run, load_run
    from unforced.reporting.tables import show_accuracy
    from unforced.tasks.sampling import check_split

    if data is not None and (split or count):
        raise UserError("--data measures on a file; drop --split and --count")
    loaded = load_run(run_dir).decoded_by(other_decoder(decoder))
    for name in split or []:
        check_split(loaded.run.task, name)
    for line in loaded.refused:
        print(f"{line}; measuring step {loaded.step}", file=sys.stderr)
    if data is not None:
        result = evaluate_file(loaded, data)
    else:
        result = evaluate_run(loaded, split or ["train", "test"], count)
    if as_json:
        print(json.dumps(result))
        return
    show_accuracy(result, loaded.run)


def quickstart(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder for the three runs, table and figure.")] = Path(
        "runs/quickstart"
    ),
    as_json: AsJson = False,
) -> None:
    """Train three small models side by side: the failure and two ways out, as a table and a picture.

    Example: unforced quickstart seed=1 --out runs/quickstart-1
    """
    from unforced.cli.study_progress import watch_study
    from unforced.recipes import resolve
    from unforced.reporting.quickstart import report
    from unforced.studies.local import LocalEngine
    from unforced.studies.runner import run_study
    from unforced.study import Study

    runs = resolve("quickstart", overrides or [])
    assert isinstance(runs, dict)
    engine = LocalEngine(workers=len(runs), processor_only=True)
    with watch_study(runs, out, quiet=as_json) as watch:
        ended = run_study(Study("quickstart", _SOURCE, runs), out, engine, watch, retries=0)
    if ended.stopped_by is not None:
        going_on = f"checkpoints are in {out}, the same command goes on from them"
        _say_stopped(ended.stopped_by, going_on, as_json)
        raise typer.Exit(128 + ended.stopped_by)
    ended.raise_failures()
    summary = report(out, list(runs), quiet=as_json)
    if as_json:
        print(json.dumps(summary))
