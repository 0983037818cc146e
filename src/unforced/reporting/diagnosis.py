"""A diagnosis as text, on the terminal, and as HTML, in a notebook."""

import html
import io
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unforced.evaluation.glossary import SECTIONS, definition
from unforced.evaluation.statistics import percent
from unforced.reporting.terminal import console, print_drawn

_TEXT_WIDTH = 110  # columns of a diagnosis as text


def diagnosis_text(name: str, diagnosis: Mapping[str, Any], explain: bool) -> str:
    """Return what `show_diagnosis` prints."""
    plain: dict[str, Any] = {"color_system": None, "force_terminal": False, "force_jupyter": False}
    options: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False}
    text = Console(file=io.StringIO(), width=_TEXT_WIDTH, **plain, **options)
    with text.capture() as captured:
        show_diagnosis(name, diagnosis, explain, text)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def diagnosis_html(name: str, diagnosis: Mapping[str, Any]) -> str:
    """Return the verdict, its reasons and every number as HTML, with definitions as tooltips."""
    verdict = diagnosis["verdict"]
    test, train = diagnosis["problems"]["test"], diagnosis["problems"]["train"]
    parts = [f"<p>{_text(name)}: <b>{_text(verdict['title'])}</b></p><ul>"]
    parts += [f"<li>{_text(reason)}</li>" for reason in verdict["because"]]
    parts.append("</ul>")
    if verdict["settle"]:
        parts.append(f"<p>What would settle it: {_text(verdict['settle'])}.</p>")
    confidence = f"{100 * diagnosis['confidence']:g}%"
    parts.append(f"<p>{test:,} held-out and {train:,} training problems; intervals at {confidence}</p>")
    for section, title in SECTIONS.items():
        if section in diagnosis:
            rows = "".join(
                f'<tr title="{_text(definition(path))}"><td>{_text(label(section, path))}</td>'
                f"<td>{_text(value)}</td></tr>"
                for path, value in rows_of(section, diagnosis[section])
            )
            parts.append(f"<details><summary>{_text(title)}</summary><table>{rows}</table></details>")
    return "".join(parts)


def _text(words: str) -> str:
    return html.escape(words, quote=True)


def show_diagnosis(name: str, diagnosis: Mapping[str, Any], explain: bool, to: Console | None = None) -> None:
    """Print the verdict, its reasons and every number; with `explain`, the definition of each number."""
    from unforced.config import build_decoder  # which imports torch

    out = to or console()
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
            print_drawn(_table(section, diagnosis[section], explain), out)


def _indented(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _table(section: str, measures: Any, explain: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(min_width=34, overflow="fold")
    table.add_column(overflow="fold")
    for path, value in rows_of(section, measures):
        table.add_row(f"  {label(section, path)}", value)
        if explain:
            table.add_row("", Text(definition(path), style="dim"))
    return table


def label(section: str, path: str) -> str:
    """Return a measure's name in a table of its section."""
    words = path.removeprefix(f"{section}.").replace("_", " ").replace(".", ", ")
    return words.replace("token ", "token_")


def rows_of(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Flatten measures into rows: a path and a value in words."""
    if not isinstance(value, Mapping):
        yield path, _number(path, value)
    elif "does_not_apply" in value:
        yield path, f"does not apply: {value['does_not_apply']}"
        rest = {key: part for key, part in value.items() if key != "does_not_apply"}
        if rest:
            yield from rows_of(path, rest)
    elif "low" in value:
        yield path, _interval(path, value)
    elif "censored_at" in value:
        never = f"not by step {value['censored_at']:,}" if value["censored_at"] is not None else ""
        yield path, f"step {value['steps']:,}" if value["steps"] is not None else never
    elif value and all(isinstance(count, int) for count in value.values()):
        yield (
            path,
            ", ".join(f"{key.replace('_', ' ')} {count:,}" for key, count in value.items()).replace(
                "token ", "token_"
            ),
        )
    else:
        for key, part in value.items():
            yield from rows_of(f"{path}.{key}", part)


def _interval(path: str, estimate: Mapping[str, Any]) -> str:
    if path.endswith("correlation"):
        value, low, high = (estimate[key] for key in ("value", "low", "high"))
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"
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
    if ".margin." in path:
        return f"{value:.2f}"
    if path.endswith(("multiple", "odds_ratio")) or path.startswith("writing_order.step"):
        return f"{value:.1f}"
    return f"{100 * value:.1f}%"
