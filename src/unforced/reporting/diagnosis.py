"""A diagnosis on the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unforced.evaluation.glossary import SECTIONS, definition
from unforced.evaluation.statistics import percent
from unforced.reporting.terminal import console


def show_diagnosis(name: str, diagnosis: Mapping[str, Any], explain: bool) -> None:
    """Print the verdict, what it rests on, and every number; with `explain`, what each number means."""
    from unforced.config import build_decoder  # which imports torch

    out = console()
    verdict = diagnosis["verdict"]
    out.print(Text.assemble((f"{name}: ", ""), (verdict["title"], "bold")))
    for reason in verdict["because"]:
        out.print(_indented(f"- {reason}"))
    if verdict["settle"]:
        out.print(_indented(f"What would settle it: {verdict['settle']}."))
    test, train = diagnosis["problems"]["test"], diagnosis["problems"]["train"]
    confidence = f"{100 * diagnosis['confidence']:g}%"
    out.print(f"\n{test:,} held-out and {train:,} training problems; intervals at {confidence}")
    out.print(f"decoder: {build_decoder(diagnosis['decoder'])}")
    for section, title in SECTIONS.items():
        if section in diagnosis:
            out.print(f"\n{title}", style="bold")
            out.print(_table(section, diagnosis[section], explain))


def _indented(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _table(section: str, measures: Any, explain: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(min_width=34, overflow="fold")
    table.add_column(overflow="fold")
    for path, value in rows_of(section, measures):
        label = (
            path.removeprefix(f"{section}.").replace("_", " ").replace(".", ", ").replace("token ", "token_")
        )
        table.add_row(f"  {label}", value)
        if explain:
            table.add_row("", Text(definition(path), style="dim"))
    return table


def rows_of(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Flatten measures into rows: a path and a value in words."""
    if not isinstance(value, Mapping):
        yield path, _number(path, value)
    elif "does_not_apply" in value:
        yield path, f"does not apply: {value['does_not_apply']}"
        rest = {key: each for key, each in value.items() if key != "does_not_apply"}
        if rest:
            yield from rows_of(path, rest)
    elif "low" in value:
        yield path, _interval(path, value)
    elif "censored_at" in value:
        never = f"not by step {value['censored_at']:,}" if value["censored_at"] is not None else ""
        yield path, f"step {value['steps']:,}" if value["steps"] is not None else never
    elif value and all(isinstance(each, int) for each in value.values()):
        yield (
            path,
            ", ".join(f"{key.replace('_', ' ')} {each:,}" for key, each in value.items()).replace(
                "token ", "token_"
            ),
        )
    else:
        for key, each in value.items():
            yield from rows_of(f"{path}.{key}", each)


def _interval(path: str, estimate: Mapping[str, Any]) -> str:
    unit = " points" if path.endswith("gap") else "%"
    counts = f"  {estimate['correct']:,} of {estimate['total']:,}" if "total" in estimate else ""
    return percent(estimate, unit) + counts


def _number(path: str, value: Any) -> str:
    if value is None:
        return "beyond all bounds" if path.endswith("odds_ratio") else "never"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", then ".join(" and ".join(group) for group in value) or "none"
    if path.endswith("p_value"):
        return f"{value:.2g}" if value else "below 1e-300"
    if isinstance(value, int):
        return f"{value:,}"
    if path.endswith(("multiple", "odds_ratio")):
        return f"{value:.1f}"
    return f"{100 * value:.1f}%"
