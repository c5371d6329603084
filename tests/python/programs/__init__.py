# SPDX-License-Identifier: Apache-2.0
"""Small programs as users write them, each a function of the module it runs on.

A program takes the module (``skyray``, or Ray itself when compare_semantics.py asks) and returns a
plain value, the same in every run. It may count on `RESOURCES`. What it sends to workers is defined
inside it, so that it travels by value and workers need not import this package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["PROGRAMS", "RESOURCES", "Program", "program", "raised"]

# The arguments of init() under which the programs run.
RESOURCES: dict[str, Any] = {"num_cpus": 4, "resources": {"widget": 2}}


@dataclass(frozen=True)
class Program:
    """A program and the value it must return."""

    run: Callable[[Any], Any]
    expected: Any


PROGRAMS: dict[str, Program] = {}


def program(expected: Any) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Registers a program under its function's name."""

    def register(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        name = run.__name__
        if name in PROGRAMS:
            raise ValueError(f"two programs are called {name}")
        PROGRAMS[name] = Program(run, expected)
        return run

    return register


def raised(call: Callable[[], Any]) -> str:
    """The name of the exception's class that ``call`` ends with, or "nothing"."""
    error = caught(call)
    return type(error).__name__ if error is not None else "nothing"


def caught(call: Callable[[], Any]) -> Exception | None:
    """The exception that ``call`` ends with."""
    try:
        call()
    except Exception as error:
        return error
    return None


from . import (  # noqa: E402
    actors,  # noqa: F401
    context,  # noqa: F401
    corners_of_actors,  # noqa: F401
    corners_of_objects,  # noqa: F401
    corners_of_tasks,  # noqa: F401
    environment,  # noqa: F401
    failures,  # noqa: F401
    graphs,  # noqa: F401
    known,  # noqa: F401
    objects,  # noqa: F401
    tasks,  # noqa: F401
    timelines,  # noqa: F401
    utilities,  # noqa: F401
)
