# SPDX-License-Identifier: Apache-2.0
"""Small programs as users of Arrow's Plasma client wrote them, each with what it returns.

A program takes the module (``skyray.plasma``, or ``pyarrow.plasma`` when compare_arrow.py asks) and
two clients of a store of `STORE_BYTES` that is its own. It returns a plain value, the same in every
run. Where skyray's is another on purpose, ``arrow`` is what Arrow's returns, ``because`` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["PROGRAMS", "STORE_BYTES", "Program", "program", "raised"]

STORE_BYTES = 64 << 20
# What an except clause of a user's program names; the first that fits is reported.
_CAUGHT = (
    "PlasmaObjectExists", "PlasmaObjectNotFound", "PlasmaStoreFull",
    "OSError", "ValueError", "TypeError", "AttributeError", "IndexError", "BufferError",
)  # fmt: skip


@dataclass(frozen=True)
class Program:
    """A program, the value it returns, and where Arrow's differs: the value there, and why."""

    run: Callable[[Any, Any, Any], Any]
    expected: Any
    arrow: Any
    because: str


PROGRAMS: dict[str, Program] = {}


def program(
    expected: Any, *, arrow: Any = None, because: str = ""
) -> Callable[[Callable[[Any, Any, Any], Any]], Callable[[Any, Any, Any], Any]]:
    """Registers a program under its function's name."""

    def register(run: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
        name = run.__name__
        if name in PROGRAMS:
            raise ValueError(f"two programs are called {name}")
        PROGRAMS[name] = Program(run, expected, arrow if because else expected, because)
        return run

    return register


def raised(call: Callable[[], Any]) -> str:
    """The class by which a program would catch what ``call`` ends with, or "nothing"."""
    try:
        call()
    except Exception as error:
        names = [kind.__name__ for kind in type(error).__mro__]
        return next((name for name in names if name in _CAUGHT), names[0])
    return "nothing"


from . import buffers, connections, ids, lifecycle, upkeep, values  # noqa: E402, F401
