"""`diagnose`: why a model fails."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unforced.cli.options import AsJson, Base

_PANEL = "Of a model that was trained elsewhere"


def _elsewhere(help: str, *names: str, **options: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_PANEL, show_default=False, **options)


def diagnose(
    run_dir: Annotated[
        str | None,
        typer.Argument(help="The folder of a finished run; none with --model.", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Another decoder: decoder=NAME decoder.KEY=VALUE. With --model also task.KEY=VALUE and "
            "objective.KEY=VALUE.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        _elsewhere("A causal language model: a folder (adapters of peft, too), or a name on the hub."),
    ] = None,
    task: Annotated[str | None, _elsewhere("The task that it was trained on (unforced list tasks).")] = None,
    data: Annotated[
        Path | None, _elsewhere("Held-out problems, a file that `unforced data export` wrote.")
    ] = None,
    train: Annotated[Path | None, _elsewhere("With --data: the problems that it was trained on.")] = None,
    objective: Annotated[
        str | None,
        _elsewhere("What its inputs were in training: next_token (the default), teacherless ..."),
    ] = None,
    order: Annotated[str | None, _elsewhere("forward (the default) or reversed answers.")] = None,
    template: Annotated[
        str | None,
        _elsewhere(
            "What stood around prompt and answer, as in 'Q: {prompt} A: {answer}'; what follows the answer "
            "ends it, else the end-of-text token. [default: {prompt}{answer}]"
        ),
    ] = None,
    chat: Annotated[
        bool, _elsewhere("The tokenizer's chat template stood around prompt and answer.", "--chat")
    ] = False,
    mask_token: Annotated[
        str | None,
        _elsewhere("The token that hid answer tokens (teacherless). [default: the tokenizer's mask token]"),
    ] = None,
    encoding: Annotated[
        str | None,
        _elsewhere("text, or symbol: a token for each symbol of the task. [default: symbol if it has them]"),
    ] = None,
    first_symbol: Annotated[
        int | None,
        _elsewhere("It has no tokenizer; the task's symbols are token ids from this one on.", min=0),
    ] = None,
    seed: Annotated[int | None, _elsewhere("Of the problems of --task. [default: 0]", min=0)] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Held-out problems, and training problems. [default: the run's num_test; of a task 2,000; "
            "all of a file]",
        ),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of every interval, above 0.5 and below 1.")] = 0.95,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each number means.")] = False,
    base: Base = None,
    out: Annotated[
        Path | None, typer.Option("--out", "--to", help="Also write the diagnosis to this file, as JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a model fails, already in training or only at inference, by which mechanism, how surely.

    Of a run, it writes diagnosis.json into the run folder, unless another decoder is given.

    Example: unforced diagnose runs/quickstart/next_token --explain

    Example: unforced diagnose --model FOLDER_OR_NAME --task path_star task.degree=3 --out diagnosis.json
    """
    from unforced.cli.elsewhere import Options, diagnose_elsewhere, title
    from unforced.config import other_decoder
    from unforced.errors import UserError
    from unforced.evaluation.statistics import check_confidence
    from unforced.experiment import diagnose_run
    from unforced.files import write_json
    from unforced.reporting.diagnosis import show_diagnosis

    check_confidence(confidence)
    if out is not None and out.exists():
        raise UserError(f"--out: {out} exists; choose another, or remove it")
    options = Options(
        task, data, train, objective, order, template, chat, mask_token, encoding, first_symbol, seed
    )
    if model is not None:
        if base is not None:
            raise UserError("--base: it says where the model of a run is now; --model names one itself")
        texts = [*filter(None, [run_dir]), *(overrides or [])]
        diagnosis = diagnose_elsewhere(model, texts, options, count, confidence)
        name = title(model, diagnosis)
    else:
        options.check_unused()
        if run_dir is None:
            raise UserError(
                "say what to diagnose: a run folder, or --model FOLDER_OR_NAME with --task or --data"
            )
        decoder = other_decoder(overrides or [])
        diagnosis = diagnose_run(Path(run_dir), count, confidence, decoder, base, _say_unwritten)
        name = run_dir
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, diagnosis)
    if as_json:
        print(json.dumps(diagnosis))
        return
    show_diagnosis(name, diagnosis, explain)


def _say_unwritten(line: str) -> None:
    print(f"unforced: {line}", file=sys.stderr)
