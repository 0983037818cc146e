"""Names of the tasks, models, objectives, heads, decoders, recipes and studies, and where each one lives.

An entry is `name -> "module:attribute"` and is imported when it is first asked for, so that looking
at names costs nothing. Other packages add theirs through entry points (`unforced.tasks`,
`unforced.models`, `unforced.objectives`, `unforced.heads`, `unforced.decoders`, `unforced.recipes`,
`unforced.studies`); a file is loaded by `unforced.plugins`; a class, as from a notebook cell, is added by
`Registry.add`.
"""

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from unforced.errors import UserError, unknown


@dataclass(frozen=True)
class Source:
    """Where a name that is not the package's own comes from.

    words: for messages. distribution, version: of the package that adds it by an entry point, else empty.
    """

    words: str
    distribution: str = ""
    version: str = ""


AnyClass = TypeVar("AnyClass", bound=type[Any])


class Registry:
    """Maps the names of one kind of thing to the classes or functions they stand for."""

    def __init__(self, kind: str, entries: dict[str, str], plural: str = "") -> None:
        self.kind, self.plural = kind, plural or f"{kind}s"
        self._entries: dict[str, str | type[Any]] = dict(entries)
        self._sources: dict[str, Source] = {}  # of names that are not the package's own
        self._clashes: dict[str, UserError] = {}
        self._plugins_read = self._reading = False

    def register(self, name: str, target: str, source: Source | str = "your code") -> None:
        """Add an entry; `target` is the text `module:attribute`. Raises UserError if the name is taken.

        source: whose entry it is.
        """
        if not isinstance(target, str):  # other processes find it by its place
            raise UserError(
                f"{self.kind} {name!r}: say where it is, as in 'module:attribute', not {target!r}; "
                "a class is added by `add`"
            )
        source = Source(source) if isinstance(source, str) else source
        if name not in self._entries:
            self._entries[name], self._sources[name] = target, source
        elif place(self._entries[name]) != target:
            raise self._taken(name, f"{target} of {source.words}")

    def add(self, cls: AnyClass) -> AnyClass:
        """Add a class under its `name`, for this process, and return it; so it serves as a decorator, too.

        A class that was defined anew, in a notebook cell or a file, replaces the former one. Raises
        UserError: it lacks a name or a method, or the name is taken.
        """
        name = self._name_of(cls)
        if name not in self._entries:
            self._read_plugins()
        known = self._entries.get(name)
        if known is None or _is_anew(cls, known):
            self._entries[name], self._sources[name] = cls, Source(_origin(cls))
        elif not self._stands_for(name, cls):
            if "name" not in inspect.get_annotations(cls):
                raise UserError(
                    f"{self.kind} {cls.__name__}: its name {name!r} is that of {place(known)}; give it "
                    'another, name: Literal["NAME"] = "NAME"'
                )
            raise self._taken(name, f"{place(cls)} of {_origin(cls)}")
        return cls

    def discard(self, cls: type[Any]) -> None:
        """Forget a class that was added."""
        for name in [name for name, entry in self._entries.items() if entry is cls]:
            del self._entries[name], self._sources[name]

    def source(self, name: str) -> Source | None:
        """Return where a name comes from; None for the package's own names and unknown ones."""
        self._read_plugins()
        return self._sources.get(name)

    @contextmanager
    def holding(self, **entries: str) -> Iterator[None]:
        """Hold these entries too until the end of a `with` block, and look for those of packages anew."""
        with self.kept():
            self._clashes, self._plugins_read = {}, False
            for name, target in entries.items():
                self.register(name, target)
            yield

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Forget at the end of a `with` block what was added in it."""
        before = self._entries, self._sources, self._clashes, self._plugins_read
        self._entries, self._sources = dict(self._entries), dict(self._sources)
        try:
            yield
        finally:
            self._entries, self._sources, self._clashes, self._plugins_read = before

    def names(self) -> list[str]:
        """All names, in alphabetical order."""
        self._read_plugins()
        return sorted(self._entries)

    def get(self, name: str) -> Any:
        """Import and return what `name` stands for.

        Raises UserError: there is no such name (the error gives the nearest), an installed package adds a
        name that is taken, or it cannot be imported. Each concerns one name; the others work.
        """
        self._read_plugins()
        if name in self._clashes:
            raise self._clashes[name]
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        target = self._entries[name]
        if not isinstance(target, str):
            return target
        module, _, attribute = target.partition(":")
        if name not in self._sources:
            return getattr(import_module(module), attribute)
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:  # whatever it does when it is imported
            raise UserError(
                f"{self.kind} {name!r}: {target} of {self._sources[name].words} cannot be imported "
                f"({type(error).__name__}: {error}); repair or uninstall it"
            ) from error

    def _read_plugins(self) -> None:
        if self._plugins_read or self._reading:
            return
        self._reading = True
        try:
            for point in entry_points(group=f"unforced.{self.plural}"):
                dist = point.dist
                source = Source(dist.name, dist.name, dist.version) if dist else Source("a package")
                try:
                    self.register(point.name, point.value, source)
                except UserError as clash:
                    self._clashes[point.name] = clash
            from unforced.plugins import load_named_by_environment

            load_named_by_environment()
            self._plugins_read = True
        finally:
            self._reading = False

    def _name_of(self, cls: type[Any]) -> str:
        field = getattr(cls, "model_fields", {}).get("name")
        if field is None or getattr(cls, "registry", None) is not self:
            raise UserError(f"{cls.__name__} is not a {self.kind}; it must be a subclass of one")
        if not isinstance(field.default, str):
            raise UserError(f'{self.kind} {cls.__name__} lacks a name: Literal["NAME"] = "NAME"')
        if inspect.isabstract(cls):
            lacking = " and ".join(sorted(cls.__abstractmethods__))
            raise UserError(f"{self.kind} {field.default!r}: class {cls.__name__} lacks {lacking}")
        return field.default

    def _stands_for(self, name: str, cls: type[Any]) -> bool:
        """Whether a name that is taken is taken by this class."""
        if place(self._entries[name]) == place(cls):
            return True
        try:
            known = self.get(name)
        except UserError:
            return False
        return known is cls or _is_anew(cls, known)

    def _taken(self, name: str, other: str) -> UserError:
        known = self._entries[name]
        whose = self._sources[name].words if name in self._sources else "unforced"
        return UserError(
            f"{self.kind} {name!r} is there twice: {place(known)} of {whose} and {other}; "
            "rename or uninstall one"
        )


def place(entry: str | type[Any]) -> str:
    """Return where a class is, as `module:attribute`."""
    return entry if isinstance(entry, str) else f"{entry.__module__}:{entry.__qualname__}"


def file_of(cls: type[Any]) -> str | None:
    """Return the file that defines a class; None for one of a notebook cell."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return None if file is None else os.path.abspath(file)


def _is_anew(cls: type[Any], known: Any) -> bool:
    """Whether a class is a known one, or was defined by the same statement at another time."""
    if isinstance(known, str) or cls.__qualname__ != known.__qualname__:
        return False
    return cls.__module__ == known.__module__ or file_of(cls) == file_of(known) is not None


def _origin(cls: type[Any]) -> str:
    return file_of(cls) or "this session"


def summary(thing: Any) -> str:
    """Return the first line of the docstring of a registered class or function."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


TASKS = Registry(
    "task",
    {
        "addition": "unforced.tasks.addition:Addition",
        "branching_path": "unforced.tasks.branching_path:BranchingPath",
        "circle": "unforced.tasks.open_ended.circle:Circle",
        "countdown": "unforced.tasks.countdown:Countdown",
        "crossing_lines": "unforced.tasks.crossing_lines:CrossingLines",
        "dag_paths": "unforced.tasks.dag_paths:DagPaths",
        "line": "unforced.tasks.open_ended.line:Line",
        "minimal_planning": "unforced.tasks.minimal_planning:MinimalPlanning",
        "own_data": "unforced.tasks.own_data.task:OwnData",
        "path_star": "unforced.tasks.path_star:PathStar",
        "sibling": "unforced.tasks.open_ended.sibling:Sibling",
        "sudoku": "unforced.tasks.sudoku.task:Sudoku",
        "triangle": "unforced.tasks.open_ended.triangle:Triangle",
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
        "belief_state": "unforced.objectives.belief_state:BeliefState",
        "future_summary": "unforced.objectives.future_summary:FutureSummary",
        "insertion": "unforced.objectives.insertion:Insertion",
        "joint": "unforced.objectives.joint:JointPrediction",
        "masked": "unforced.objectives.masked:Masked",
        "mixture": "unforced.objectives.mixture:Mixture",
        "multi_token": "unforced.objectives.multi_token:MultiToken",
        "next_latent": "unforced.objectives.next_latent:NextLatent",
        "next_token": "unforced.objectives.next_token:NextToken",
        "registers": "unforced.objectives.registers:Registers",
        "teacherless": "unforced.objectives.teacherless:Teacherless",
        "token_order": "unforced.objectives.token_order:TokenOrder",
    },
)

HEADS = Registry(
    "kind of heads",
    {
        "leap": "unforced.objectives.multi_token_heads.leap:LeapHeads",
        "parallel": "unforced.objectives.multi_token_heads.parallel:ParallelHeads",
        "sequential": "unforced.objectives.multi_token_heads.sequential:SequentialHeads",
        "shared": "unforced.objectives.multi_token_heads.shared:SharedHead",
        "transfer": "unforced.objectives.multi_token_heads.transfer:TransferHeads",
    },
    plural="heads",
)
"""Those of the objective `multi_token`."""

DECODERS = Registry(
    "decoder",
    {
        "autoregressive": "unforced.decoding.autoregressive:Autoregressive",
        "insertion": "unforced.decoding.insertion:Inserting",
        "iterative": "unforced.decoding.iterative:Iterative",
        "joint": "unforced.decoding.joint:Joint",
        "one_pass": "unforced.decoding.one_pass:OnePass",
        "with_suffix": "unforced.decoding.with_suffix:WithSuffix",
    },
)

BASELINE = "next_token"
"""The objective that others are compared with."""

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
        "small_own_data": "unforced.recipes.small:small_own_data",
        "small_pretrained": "unforced.recipes.small:small_pretrained",
    },
)

STUDIES = Registry(
    "study",
    {
        "alpine_small": "unforced.recipes.planning:alpine_small",
        "creativity_small": "unforced.recipes.creativity:creativity_small",
        "ilm_stars": "unforced.recipes.peers:ilm_stars",
        "ilm_stars_small": "unforced.recipes.peers:ilm_stars_small",
        "nextlat_fig6": "unforced.recipes.peers:nextlat_fig6",
        "objectives_small": "unforced.recipes.objectives:objectives_small",
        "pitfalls": "unforced.recipes.pitfalls:pitfalls",
        "pitfalls_small": "unforced.recipes.pitfalls:pitfalls_small",
        "pretrained_stars": "unforced.recipes.pretrained:pretrained_stars",
        "top_table5": "unforced.recipes.peers:top_table5",
    },
    plural="studies",
)
