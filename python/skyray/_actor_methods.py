"""Methods that every actor has beside its class's own."""

from __future__ import annotations

import types
from typing import Any, Callable

from . import _core


def _ready(self: Any) -> bool:
    """Answers as soon as the actor does: its ``__init__`` has returned."""
    return True


def _call(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Runs any function on the actor's instance."""
    return function(self, *args, **kwargs)


def _terminate(self: Any) -> None:
    """Ends the actor's process after the calls before this one."""
    _core.exit_actor()
    raise SystemExit(0)


BUILT_IN: dict[str, Callable[..., Any]] = {
    "__ray_ready__": _ready,
    "__ray_call__": _call,
    "__ray_terminate__": _terminate,
}


def with_built_in_methods(cls: type) -> type:
    """``cls`` with :data:`BUILT_IN`; a class below it if it cannot be changed."""
    try:
        for name, method in BUILT_IN.items():
            if not hasattr(cls, name):
                setattr(cls, name, method)
        return cls
    except TypeError:  # Written in C.
        body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, **BUILT_IN}
        return types.new_class(cls.__name__, (cls,), {}, lambda space: space.update(body))
