"""Run by test_architecture.py: imports the whole package as on a system that is not POSIX, Windows say."""

import builtins
import importlib
import os
import pkgutil

import unforced

_MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty")


def main():
    original = builtins.__import__

    def without_posix(name, globals=None, *arguments, **keywords):
        if name in _MODULES and ((globals or {}).get("__name__") or "").startswith("unforced"):
            raise ModuleNotFoundError(f"{globals['__name__']} imports {name}")
        return original(name, globals, *arguments, **keywords)

    builtins.__import__ = without_posix
    for name in [name for name in dir(os) if name.startswith("EX_")]:
        delattr(os, name)
    for module in pkgutil.walk_packages(unforced.__path__, "unforced."):
        if module.name != "unforced.__main__":
            importlib.import_module(module.name)
            print(module.name)


if __name__ == "__main__":
    main()
