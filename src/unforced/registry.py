"""Names of the tasks, models, objectives, decoders, recipes and studies, and where each one lives.

An entry is `name -> "module:attribute"` and is imported when it is first asked for, so that looking
at names costs nothing. Other packages add theirs through entry points (`unforced.tasks`,
`unforced.models`, `unforced.objectives`, `unforced.decoders`, `unforced.recipes`, `unforced.studies`) or with
`Registry.register`.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from unforced.errors import UserError, unknown


class Registry:
    """Maps the names of one kind of thing to the classes or functions they stand for."""

    def __init__(self, kind: str, entries: dict[str, str], plural: str = "") -> None:
        self.kind, self.plural = kind, plural or f"{kind}s"
        self._entries = dict(entries)
        self._origins: dict[str, str] = {}  # of names that are not the package's own
        self._clashes: dict[str, UserError] = {}
        self._plugins_read = False

    def register(self, name: str, target: str, origin: str = "your code") -> None:
        """Add an entry; `target` is the text `module:attribute`. Raises UserError if the name is taken.

        origin: whose entry it is, for messages.
        """
        if not isinstance(target, str):  # other processes find it by its place
            raise UserError(
                f"{self.kind} {name!r}: say where it is, as in 'module:attribute', not {target!r}"
            )
        if self._entries.get(name, target) != target:
            raise UserError(
                f"{self.kind} {name!r} is there twice: {self._entries[name]} of "
                f"{self._origins.get(name, 'unforced')} and {target} of {origin}; rename or uninstall one"
            )
        if name not in self._entries:
            self._entries[name], self._origins[name] = target, origin

    @contextmanager
    def holding(self, **entries: str) -> Iterator[None]:
        """Hold these entries too until the end of a `with` block, and look for those of packages anew."""
        before = self._entries, self._origins, self._clashes, self._plugins_read
        self._entries, self._origins = dict(self._entries), dict(self._origins)
        self._clashes, self._plugins_read = {}, False
        try:
            for name, target in entries.items():
                self.register(name, target)
            yield
        finally:
            self._entries, self._origins, self._clashes, self._plugins_read = before

    def names(self) -> list[str]:
        """All names, in alphabetical order."""
        self._read_plugins()
        return sorted(self._entries)

    def get(self, name: str) -> Any:
        """Import and return what `name` stands for.

        Raises UserError: there is no such name (the error gives the nearest), an installed package adds a
        name that is taken, or it cannot be imported. Each concerns one name; the others can be had.
        """
        self._read_plugins()
        if name in self._clashes:
            raise self._clashes[name]
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        module, _, attribute = self._entries[name].partition(":")
        if name not in self._origins:
            return getattr(import_module(module), attribute)
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:  # whatever it does when it is imported
            raise UserError(
                f"{self.kind} {name!r}: {self._entries[name]} of {self._origins[name]} cannot be imported "
                f"({type(error).__name__}: {error}); mend or uninstall it"
            ) from error

    def _read_plugins(self) -> None:
        if self._plugins_read:
            return
        self._plugins_read = True
        for point in entry_points(group=f"unforced.{self.plural}"):
            try:
                self.register(point.name, point.value, point.dist.name if point.dist else "a package")
            except UserError as clash:
                self._clashes[point.name] = clash


def summary(thing: Any) -> str:
    """Return the first line of what a registered class or function says of itself."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


TASKS = Registry(
    "task",
    {
        "addition": "unforced.tasks.addition:Addition",
        "branching_path": "unforced.tasks.branching_path:BranchingPath",
        "countdown": "unforced.tasks.countdown:Countdown",
        "crossing_lines": "unforced.tasks.crossing_lines:CrossingLines",
        "path_star": "unforced.tasks.path_star:PathStar",
    },
)

MODELS = Registry(
    "model",
    {
        "gpt": "unforced.models.gpt:GPT",
        "mamba": "unforced.models.mamba:Mamba",
        "pretrained": "unforced.models.pretrained:Pretrained",
    },
)

OBJECTIVES = Registry(
    "objective",
    {
        "next_token": "unforced.objectives.next_token:NextToken",
        "teacherless": "unforced.objectives.teacherless:Teacherless",
    },
)

DECODERS = Registry(
    "decoder",
    {
        "autoregressive": "unforced.decoding.autoregressive:Autoregressive",
        "one_pass": "unforced.decoding.one_pass:OnePass",
    },
)

SHOWN_NOTHING = frozenset({"teacherless"})
"""Objectives whose training gives nothing of the answer, for results that do not record `shows`."""

RECIPES = Registry(
    "recipe",
    {
        "paper_code": "unforced.recipes.paper:paper_code",
        "paper_gpt2_large": "unforced.recipes.paper:paper_gpt2_large",
        "paper_gpt_mini": "unforced.recipes.paper:paper_gpt_mini",
        "paper_mamba": "unforced.recipes.paper:paper_mamba",
        "paper_pythia": "unforced.recipes.paper:paper_pythia",
        "quickstart": "unforced.recipes.quickstart:quickstart",
        "small_mamba": "unforced.recipes.small:small_mamba",
        "small_pretrained": "unforced.recipes.small:small_pretrained",
    },
)

STUDIES = Registry(
    "study",
    {
        "nextlat_fig6": "unforced.recipes.peers:nextlat_fig6",
        "pitfalls": "unforced.recipes.pitfalls:pitfalls",
        "pitfalls_small": "unforced.recipes.pitfalls:pitfalls_small",
        "top_table5": "unforced.recipes.peers:top_table5",
    },
    plural="studies",
)
