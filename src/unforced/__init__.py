"""unforced: shows, measures and repairs the failures of next-token prediction.

    import unforced as uf

    run = uf.recipe("quickstart.teacherless").replace(seed=3, max_steps=500)
    fit = uf.train(run)
    fit.metrics, fit.evaluate(split="test"), fit.diagnose(), fit.plot()

Importing the package imports nothing else: what a name needs (torch, above all) is imported when it is used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unforced.config import Run
    from unforced.errors import UserError
    from unforced.interface.collection import load, report, runs
    from unforced.interface.diagnosis import diagnose
    from unforced.interface.fit import train
    from unforced.interface.problems import problems
    from unforced.interface.recipes import recipe, register
    from unforced.interface.study import study

    __version__: str

__all__ = [
    "Run",
    "UserError",
    "__version__",
    "diagnose",
    "load",
    "problems",
    "recipe",
    "register",
    "report",
    "runs",
    "study",
    "train",
]

_HOMES = {
    "Run": "config",
    "UserError": "errors",
    "diagnose": "interface.diagnosis",
    "load": "interface.collection",
    "problems": "interface.problems",
    "recipe": "interface.recipes",
    "register": "interface.recipes",
    "report": "interface.collection",
    "runs": "interface.collection",
    "study": "interface.study",
    "train": "interface.fit",
}
"""In which module each name is."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("unforced")
        except PackageNotFoundError:  # a checkout that is not installed
            return "unknown"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__", "__file__", "__name__", "__path__"])


class _Package(ModuleType):
    """Keeps `runs` and `study` the functions that they are here, when modules of these names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
