"""Pages of the gallery, made from the registry: one for each kind of part, and one of recipes and studies."""

import inspect
import json
import sys
from typing import Any

from pydantic_core import PydanticUndefined

from unforced.parts import Config, tree
from unforced.recipes import recipe_names
from unforced.registry import (
    DECODERS,
    HEADS,
    MODELS,
    OBJECTIVES,
    RECIPES,
    STUDIES,
    TASKS,
    Registry,
    summary,
)
from unforced.tasks.sampling import problems

_PARTS = (TASKS, OBJECTIVES, HEADS, DECODERS, MODELS)
_WIDE = ("---", "hide: [toc]", "---", "")
"""Front matter of a page that needs the room of the table of contents."""
_INTRODUCTIONS = {
    "tasks": (
        "A task generates problems with exact answers, verifies answers, and states what chance is. Choose "
        "one with `task=NAME`, set its fields with `task.FIELD=VALUE`. How to add one: "
        "[Extending](../extending.md#a-task)."
    ),
    "objectives": (
        "An objective is what is trained: which tokens the model sees, which it has to predict, and the "
        "loss. Choose one with `objective=NAME`. How to add one: [Extending](../extending.md#an-objective)."
    ),
    "heads": (
        "What predicts the tokens further on in [`multi_token`](objectives.md#multi_token) training. Choose "
        "a kind with `objective.heads=NAME`, set its fields with `objective.heads.FIELD=VALUE`."
    ),
    "decoders": (
        "A decoder writes the answer of a trained model, which is what *free-running* accuracy measures. "
        "Each objective has a default; choose another with `unforced evaluate RUN_DIR decoder=NAME`."
    ),
    "models": (
        "Choose a model with `model=NAME`, set its fields with `model.FIELD=VALUE`. How to add one: "
        "[Extending](../extending.md#a-model)."
    ),
}


def pages() -> dict[str, str]:
    """Return the gallery's pages by path."""
    made = {f"gallery/{registry.plural}.md": _page(registry) for registry in _PARTS}
    return made | {"gallery/recipes.md": _recipes(), "gallery/index.md": _index()}


def _index() -> str:
    lines = [
        "# Gallery",
        "",
        "Everything that has a name, from the registry. `unforced list` prints the same.",
    ]
    for registry in (*_PARTS, RECIPES, STUDIES):
        page = "recipes" if registry in (RECIPES, STUDIES) else registry.plural
        lines += ["", f"## {registry.plural.capitalize()}", "", "| name | what it is |", "|---|---|"]
        lines += [
            f"| [`{name}`]({page}.md#{name}) | {_cell(summary(registry.get(name)))} |"
            for name in registry.names()
        ]
    return "\n".join(lines) + "\n"


def _page(registry: Registry) -> str:
    links = " · ".join(f"[`{name}`](#{name})" for name in registry.names())
    lines = [*_WIDE, f"# {registry.plural.capitalize()}", "", _INTRODUCTIONS[registry.plural], "", links, ""]
    for name in registry.names():
        part = registry.get(name)
        lines += [f"## `{name}` {{ #{name} }}", "", *_described(part), ""]
        if registry is TASKS:
            lines += [*_example(name), ""]
        lines += [*_fields(part), ""]
    return "\n".join(lines) + "\n"


def _described(part: type) -> list[str]:
    drawing = _drawing(part)
    text = inspect.getdoc(part) or ""
    return [text, *(["", "```text", drawing, "```"] if drawing else [])]


def _drawing(part: type) -> str:
    """Return the drawing of a part: what its module's docstring shows below its first paragraph."""
    document = inspect.cleandoc(sys.modules[part.__module__].__doc__ or "")
    _, _, rest = document.partition("\n\n")
    blocks = [block for block in rest.split("\n\n") if "  " in block]
    return inspect.cleandoc("\n" + "\n\n".join(blocks))


def _example(name: str) -> list[str]:
    """Show a problem as the task makes it by default, and how answers to it are judged."""
    task = TASKS.get(name)()
    example = problems(task, seed=0, split="train", start=0, count=1)
    [(prompt, answer)] = task.texts(example)
    positions = ", ".join(f"`token_{position}`" for position in task.decisive_positions)
    lines = [
        f"A problem of {task}:",
        "",
        "```text",
        f"prompt  {prompt}",
        f"answer  {answer}",
        "",
        *task.draw(example, 0),
        "```",
        "",
        f"Chance (the best exact match without lookahead): {_chance(task.chance)}. "
        f"Positions that need lookahead: {positions or 'unknown'}.",
        "",
        "| verdict on an answer | meaning |",
        "|---|---|",
    ]
    return lines + [f"| `{kind}` | {_cell(words) or 'right'} |" for kind, words in task.verdict_kinds.items()]


def _chance(chance: float | None) -> str:
    return "unknown" if chance is None else f"{100 * chance:.3g}%"


def _fields(part: Any) -> list[str]:
    rows = [
        f"| `{key}` | {_default(field)} | {_cell(field.description or '')} |"
        for key, field in part.model_fields.items()
        if key != "name"
    ]
    return ["| field | default | what it is |", "|---|---|---|", *rows] if rows else ["It has no fields."]


def _default(field: Any) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "(must be set)"
    value = tree(default) if isinstance(default, Config) else default
    return f"`{json.dumps(value, default=str)}`"


def _recipes() -> str:
    lines = [
        *_WIDE,
        "# Recipes and studies",
        "",
        "A recipe is a named run, or several runs by name; `unforced show NAME` prints all of its settings. "
        "A study is a list of runs over seeds, together with the results that its source reports.",
        "",
        "## Recipes",
        "",
        "| recipe | what it is |",
        "|---|---|",
    ]
    for name, words in recipe_names().items():
        anchor = f'<span id="{name}"></span>' if "." not in name else ""
        lines.append(f"| {anchor}`{name}` | {_cell(words)} |")
    lines += ["", "## Studies", "", "| study | what it is | runs | source |", "|---|---|---|---|"]
    for name in STUDIES.names():
        made = STUDIES.get(name)
        study = made()
        cells = [
            f'<span id="{name}"></span>`{name}`',
            _cell(summary(made)),
            str(len(study.runs)),
            _cell(study.source),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
