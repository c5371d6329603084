# SPDX-License-Identifier: Apache-2.0
"""What is measured: one module per group, one function per case.

A case runs in a fresh process, takes a `Bench`, and returns its metrics: name -> (value, unit).
More is better for units that end in "/s", less for all others. Its docstring says what is measured
and claimed; the claims, by metric, are also data, so that the table can say which of them hold.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CASES",
    "Bench",
    "Case",
    "Claim",
    "Metrics",
    "Skipped",
    "at_least",
    "at_most",
    "case",
    "load",
    "numpy",
]

Metrics = dict[str, tuple[float, str]]


class Skipped(Exception):
    """The case cannot be run on this system, or not here; the message says why."""


@dataclass(frozen=True)
class Claim:
    """What skyray's metric is to be: ``times`` as good as the other's, or within ``bound``."""

    times: float | None = None
    bound: float | None = None

    def __str__(self) -> str:
        parts = [f"≥ {self.times:g}x"] if self.times is not None else []
        parts += [f"≤ {self.bound:g}"] if self.bound is not None else []
        return ", ".join(parts)


def at_least(times: float, bound: float | None = None) -> Claim:
    """``times`` as good as the other system (and, if given, not above ``bound``)."""
    return Claim(times, bound)


def at_most(bound: float) -> Claim:
    """Not above ``bound``, in the metric's unit."""
    return Claim(None, bound)


@dataclass
class Bench:
    """What a case works with: the system under test, by name."""

    module_name: str
    quick: bool = False
    num_cpus: int = field(default_factory=lambda: os.cpu_count() or 1)

    @property
    def is_ours(self) -> bool:
        return self.module_name == "skyray"

    def size(self, full: int, quick: int) -> int:
        """How much of something: ``quick`` is enough to see that the case works."""
        return quick if self.quick else full

    def load(self) -> Any:
        return importlib.import_module(self.module_name)

    def start(self, **options: Any) -> Any:
        """Imports the module, starts a cluster and runs one task, so that all of it is warm."""
        module = self.load()
        module.init(num_cpus=self.num_cpus, **options)
        module.get(module.remote(lambda: None).remote())
        return module


@dataclass(frozen=True)
class Case:
    run: Callable[[Bench], Metrics]
    claims: dict[str, Claim]
    group: str

    @property
    def description(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


CASES: dict[str, Case] = {}


def case(**claims: Claim) -> Callable[[Callable[[Bench], Metrics]], Callable[[Bench], Metrics]]:
    """Registers a case under its function's name, with a claim for each metric named."""

    def register(run: Callable[[Bench], Metrics]) -> Callable[[Bench], Metrics]:
        CASES[run.__name__] = Case(run, claims, run.__module__.rpartition(".")[2])
        return run

    return register


def load() -> dict[str, Case]:
    """All cases, in the order in which they are run and told."""
    from . import (
        actors,
        arrays,
        calls,
        fairness,
        floods,
        footprint,
        objects,
        plasma,
        semantics,
        shuffles,
        spilling,
        startup,
        tasks,
    )

    modules = [startup, calls, tasks, floods, objects, arrays, shuffles, spilling]
    modules += [actors, semantics, fairness, footprint, plasma]
    groups = [module.__name__.rpartition(".")[2] for module in modules]
    for name in sorted(CASES, key=lambda name: groups.index(CASES[name].group)):
        CASES[name] = CASES.pop(name)
    return CASES


def numpy() -> Any:
    """numpy, without which the other cases still run.

    Raises:
        Skipped: it is not installed.
    """
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise Skipped("needs numpy: pip install 'skyray[bench]'") from None
