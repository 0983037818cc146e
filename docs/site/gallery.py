"""Pages of the gallery, made from the registry: one for each kind of part, and one of recipes and studies.

That of tasks is docs/tasks.md, which `task_gallery.py` writes.
"""

from described import cell, described, fields

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

_PARTS = (OBJECTIVES, HEADS, DECODERS, MODELS)
_WIDE = ("---", "hide: [toc]", "---", "")
"""Front matter of a page that needs the room of the table of contents."""
_INTRODUCTIONS = {
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
    pages = {TASKS: "../tasks.md", RECIPES: "recipes.md", STUDIES: "recipes.md"}
    for registry in (TASKS, *_PARTS, RECIPES, STUDIES):
        page = pages.get(registry, f"{registry.plural}.md")
        lines += ["", f"## {registry.plural.capitalize()}", "", "| name | what it is |", "|---|---|"]
        lines += [
            f"| [`{name}`]({page}#{name}) | {cell(summary(registry.get(name)))} |"
            for name in registry.names()
        ]
    return "\n".join(lines) + "\n"


def _page(registry: Registry) -> str:
    links = " · ".join(f"[`{name}`](#{name})" for name in registry.names())
    lines = [*_WIDE, f"# {registry.plural.capitalize()}", "", _INTRODUCTIONS[registry.plural], "", links, ""]
    for name in registry.names():
        part = registry.get(name)
        lines += [f"## `{name}` {{ #{name} }}", "", *described(part), "", *fields(part), ""]
    return "\n".join(lines) + "\n"


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
        lines.append(f"| {anchor}`{name}` | {cell(words)} |")
    lines += ["", "## Studies", "", "| study | what it is | runs | source |", "|---|---|---|---|"]
    for name in STUDIES.names():
        made = STUDIES.get(name)
        study = made()
        cells = [
            f'<span id="{name}"></span>`{name}`',
            cell(summary(made)),
            str(len(study.runs)),
            cell(study.source),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
