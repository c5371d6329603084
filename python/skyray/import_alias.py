# SPDX-License-Identifier: Apache-2.0
"""Programs that say ``import ray``, run on skyray as they are.

    skyray run train.py --epochs 3
    skyray run -m package.train

or, in a program, before anything imports Ray and before ``init()``::

    from skyray import import_alias

    import_alias.install()

From then on ``ray`` and every module below it are skyray's, in this process and in the workers of
its jobs. One that skyray does not have is not taken from an installed Ray: two systems in one
program would not know each other's objects.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["install", "installed"]

_REAL = __name__.partition(".")[0]


def install(name: str = "ray") -> None:
    """Has ``import <name>`` import skyray. A second time it does nothing.

    Args:
        name: a module of the first level, that is, without a dot.

    Raises:
        ValueError: there is a dot in the name, or it is skyray's own.
        ImportError: another module of that name is imported already.
    """
    if not name.isidentifier() or name == _REAL:
        raise ValueError(f"name={name!r} is not another name of one module, such as 'ray'")
    if name in installed():
        return
    present = sys.modules.get(name)
    if present is not None:
        origin = getattr(present, "__file__", None) or "somewhere"
        raise ImportError(
            f"{name!r} is imported already, from {origin}; call import_alias.install() before "
            f"anything imports {name!r}, or run the program with `skyray run`",
            name=name,
        )
    sys.meta_path.insert(0, _Finder(name))


def installed() -> list[str]:
    """The names by which skyray can be imported, beside its own."""
    return [finder.name for finder in sys.meta_path if isinstance(finder, _Finder)]


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        first, dot, rest = fullname.partition(".")
        if first != self.name:
            return None
        real = _REAL + dot + rest
        try:
            module = importlib.import_module(real)
        except ModuleNotFoundError as error:
            if error.name != real:
                raise  # What it imports itself is missing.
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: {self.name!r} is skyray here, and there is no "
                f"{real!r} in this version",
                name=fullname,
            ) from None
        return importlib.util.spec_from_loader(
            fullname, _Loader(module), is_package=hasattr(module, "__path__")
        )


class _Loader(importlib.abc.Loader):
    """Gives a module that is there."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has made it the alias's; by its own one it imports its siblings.
        module.__spec__ = self._spec
