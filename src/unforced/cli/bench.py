"""`bench`: how fast this machine trains, answers and starts."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unforced.bench import SECTIONS
from unforced.cli.options import AsJson
from unforced.errors import UserError, unknown


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes and few rounds: two minutes.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"A section: {', '.join(SECTIONS)}; can be given again.", show_default=False),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Also draw training speed below the peak: .svg, .png or .pdf."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure this machine: peaks, training, other libraries beside it, answers, problems, start-up.

    Contenders take turns, so ratios hold on a machine whose speed changes; other work on it still slows them
    all. Other libraries: pip install 'unforced[bench]'. Without --quick it takes six minutes on two cores.

    Example: unforced bench --quick --only training --only others
    """
    for section in only or ():
        if section not in SECTIONS:
            raise unknown("section", section, SECTIONS)
    sections = only or SECTIONS
    if figure is not None:
        _check_figure(figure, sections)
    results = _measured(quick, sections, as_json)
    if figure is not None:
        from unforced.files import write_atomically
        from unforced.reporting.bench_figure import draw_bench

        write_atomically(figure, draw_bench(results, figure.suffix[1:]))
    if as_json:
        print(json.dumps(results))
        return
    from unforced.reporting.bench import show_bench

    show_bench(results)


def _measured(quick: bool, sections: "list[str] | tuple[str, ...]", as_json: bool) -> dict[str, Any]:
    from unforced.bench import measure, plan
    from unforced.reporting.bench import watch_bench

    device = measure.device()
    chosen = plan.quick_plan(device) if quick else plan.full_plan(device)
    with watch_bench(quiet=as_json) as say:
        return measure.measure(chosen, sections, say)


def _check_figure(file: Path, sections: "list[str] | tuple[str, ...]") -> None:
    """Refuse a figure that could not be drawn, before anything is measured."""
    from unforced.reporting.report_figures.style import FORMATS

    if file.suffix[1:] not in FORMATS:
        raise UserError(f"--figure: {file} is not named as .svg, .png or .pdf")
    if not file.absolute().parent.is_dir():
        raise UserError(f"--figure: there is no folder {file.absolute().parent}")
    if not {"training", "others"} & {*sections}:
        raise UserError("--figure: it draws the sections training and others; add --only training")
