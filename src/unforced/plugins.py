"""Parts of one's own: tasks, models, objectives and decoders that a file defines, known by their names.

    plugin = load_file("mine.py")       # what `--plugin mine.py` and `mine.py:recipe` do
    plugin.names                        # ("mixture",)

A file is imported once for each content that it has. Processes that are started load those that the variable
UNFORCED_PLUGINS names, and those that a run folder or a study's config names (`unforced.provenance`).
"""

import ast
import contextlib
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from unforced.errors import UserError, unknown
from unforced.registry import Registry

VARIABLE = "UNFORCED_PLUGINS"
"""Names files to load, separated as those of PATH are."""


@dataclass(frozen=True)
class FilePlugin:
    """A file that was loaded. names: of the parts that it defines; module: the name it was imported under."""

    path: Path
    sha256: str
    names: tuple[str, ...]
    module: str

    @property
    def namespace(self) -> Mapping[str, Any]:
        """The file's names at its top level, and what they stand for."""
        return vars(sys.modules[self.module])


_loaded: dict[Path, FilePlugin] = {}
_loading: set[Path] = set()


def load_file(path: str | Path) -> FilePlugin:
    """Import a file and register every part that it defines, under its `name`; its folder is importable.

    Of a file that has changed since, the present classes replace the former ones. Raises UserError: there is
    no such file, it raises an error (the line is given), or a part lacks something or has a taken name.
    """
    file = Path(os.path.abspath(Path(path).expanduser()))
    try:
        source = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    digest = hashlib.sha256(source).hexdigest()
    known = _loaded.get(file)
    if known is None or known.sha256 != digest:
        module = _imported(file, source, known)
        names = _registered(file, module)
        known = _loaded[file] = FilePlugin(file, digest, names, module.__name__)
    else:
        _registered(file, sys.modules[known.module])  # they may have been forgotten
    return known


def load_named_by_environment() -> None:
    """Load the files that UNFORCED_PLUGINS names. Raises UserError."""
    for path in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        if Path(os.path.abspath(Path(path).expanduser())) not in _loading:
            try:
                load_file(path)
            except UserError as error:
                raise UserError(f"{VARIABLE}: {error}") from None


def is_in_file(name: str) -> bool:
    """Whether a name is that of something in a file: FILE.py:NAME."""
    return name.rpartition(":")[0].endswith(".py")


def part_in_file(registry: Registry, text: str) -> str:
    """Load FILE.py and return the name of the part that FILE.py:Name stands for. Raises UserError.

    Name is that of the class, or the part's own.
    """
    path, _, wanted = text.rpartition(":")
    plugin = load_file(path)
    classes = {name: value for name, value in plugin.namespace.items() if _is_part(value)}
    by_name = {_default_name(cls): cls for cls in classes.values() if _default_name(cls)}
    cls = classes.get(wanted, by_name.get(wanted))
    if cls is None:
        own = [
            name
            for name, each in classes.items()
            if each.__module__ == plugin.module and each.registry is registry
        ]
        if not own:
            raise UserError(f"{path}: it defines no {registry.kind}, and so not {wanted!r}")
        raise UserError(f"{path}: {unknown(registry.kind, wanted, own)}")
    if cls.registry is not registry:
        raise UserError(f"{path}: {wanted} is of kind {cls.registry.kind}, not {registry.kind}")
    registry.add(cls)
    return str(_default_name(cls))


def plugin_of(cls: type[Any]) -> FilePlugin | None:
    """Return the loaded file that defines a class; None if it comes from elsewhere."""
    return next((plugin for plugin in _loaded.values() if plugin.module == cls.__module__), None)


def where(path: str | Path, error: BaseException) -> str:
    """Say in which line of a file an error was raised, and its words: `mine.py: line 3: KeyError: 'x'`."""
    file = os.path.abspath(Path(path).expanduser())
    walked = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in walked if frame.f_code.co_filename == file]
    message = str(error)
    if isinstance(error, SyntaxError) and error.filename == file:
        lines, message = [error.lineno or 1], error.msg
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{path}: {f'line {lines[-1]}: ' if lines else ''}{kind}{message}"


def _imported(file: Path, source: bytes, former: FilePlugin | None) -> ModuleType:
    """Run a file as a module, which stays in sys.modules if it could be run, in place of a former content."""
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that a neighbour called random.py is not everybody's
    name = f"unforced_file_{file.stem}_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}"
    module, before = ModuleType(name), sys.modules.get(name)
    module.__file__, module.__spec__ = str(file), ModuleSpec(name, None, origin=str(file))
    sys.modules[name] = module
    _loading.add(file)
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)
        _check_neighbours(file, source)
    except SystemExit as error:
        _forget(name, before)
        raise UserError(
            f"{where(file, error)}; imported, it must not end: put that below `if __name__ == '__main__':`"
        ) from None
    except Exception as error:
        _forget(name, before)
        raise UserError(where(file, error)) from error
    except BaseException:
        _forget(name, before)
        raise
    finally:
        _loading.discard(file)
    if former is not None and before is not None:
        for value in _parts_of(before):
            value.registry.discard(value)
    return module


def _forget(name: str, before: ModuleType | None) -> None:
    sys.modules.pop(name, None)
    if before is not None:
        sys.modules[name] = before


def _check_neighbours(file: Path, source: bytes) -> None:
    """Raise UserError if a file imports a neighbour by a name that another module has."""
    for name in _top_level_imports(source) - set(sys.stdlib_module_names):
        module = sys.modules.get(name)
        got = getattr(module, "__file__", None)
        neighbours = [file.with_name(f"{name}.py"), file.parent / name / "__init__.py"]
        neighbours = [each for each in neighbours if each.is_file() and each != file]
        if got and neighbours and not any(_is_same(each, got) for each in neighbours):
            raise UserError(
                f"it imports {name}, which is {got}, not its neighbour; rename {neighbours[0].name}"
            )


def _top_level_imports(source: bytes) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _is_same(one: Path, other: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return False


def _registered(file: Path, module: ModuleType) -> tuple[str, ...]:
    """Register the parts that a module defines; return their names."""
    names = []
    for value in _parts_of(module):
        if "name" not in inspect.get_annotations(value) and _is_base(value):
            continue
        try:
            value.registry.add(value)
        except UserError as error:
            raise UserError(f"{file}: line {_line_of(value, file)}: {error}") from None
        names.append(str(_default_name(value)))
    return tuple(dict.fromkeys(names))


def _parts_of(module: ModuleType) -> list[Any]:
    """Return the classes of parts that a module defines; what begins with an underscore is its own affair."""
    return [
        value
        for name, value in vars(module).items()
        if _is_part(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]


def _is_part(value: Any) -> bool:
    return isinstance(value, type) and isinstance(getattr(value, "registry", None), Registry)


def _is_base(cls: type[Any]) -> bool:
    """Whether a class is there to be derived from: it lacks a name or methods."""
    return not _default_name(cls) or bool(getattr(cls, "__abstractmethods__", ()))


def _default_name(cls: type[Any]) -> str | None:
    field = getattr(cls, "model_fields", {}).get("name")
    return field.default if field is not None and isinstance(field.default, str) else None


def _line_of(cls: type[Any], file: Path) -> int:
    """Return the line in which a class begins; 1 where it cannot be found."""
    tree = ast.parse(file.read_bytes())
    found = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == cls.__name__]
    return found[-1] if found else 1


def import_from(module: str, file: Path) -> bool:
    """Import a module by its name if it can be found there and is this file; return whether it was."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None or spec.origin is None or not _is_same(file, spec.origin):
        return False
    importlib.import_module(module)
    return True
