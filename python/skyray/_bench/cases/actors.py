# SPDX-License-Identifier: Apache-2.0
"""The birth and the death of actors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from .. import process_tree
from ..measure import median, once
from . import Bench, Metrics, at_least, at_most, case

DEATHS = 10


def make_small(module: Any) -> Any:
    class Small:
        def pid(self) -> int:
            return os.getpid()

        def crash(self) -> None:
            os._exit(1)

        def block(self) -> None:
            threading.Event().wait()

    return module.remote(Small)


def each(module: Any, actors: list[Any]) -> Metrics:
    """What each of the actors takes."""
    pids = module.get([actor.pid.remote() for actor in actors])
    return {
        "pss_each": (sum(map(process_tree.pss_mb, pids)) / len(pids), "MB"),
        "threads_each": (sum(map(process_tree.threads, pids)) / len(pids), ""),
    }


@case(
    sequential=at_least(100), parallel=at_least(100), pss_each=at_most(5), threads_each=at_most(4)
)
def create_50_actors(bench: Bench) -> Metrics:
    """50 actors created and called, one after the other and all at once: ≥ 100 times the rate.

    And an idle one takes ≤ 5 MB (proportional share) and ≤ 4 threads.
    """
    module = bench.start()
    small = make_small(module)
    count = bench.size(50, 5)
    actors: list[Any] = []

    def sequential() -> None:
        for _ in range(count):
            actors.append(small.remote())
            module.get(actors[-1].pid.remote())

    sequential_s = once(sequential)
    for actor in actors:
        module.kill(actor)
    actors.clear()
    parallel_s = once(lambda: create(module, small, count, actors))
    return {
        "sequential": (count / sequential_s, "/s"),
        "parallel": (count / parallel_s, "/s"),
        **each(module, actors),
    }


@case(parallel=at_least(100), pss_each=at_most(5), threads_each=at_most(4))
def create_200_actors(bench: Bench) -> Metrics:
    """200 actors created all at once and called: ≥ 100 times the rate; each as of the 50."""
    module = bench.start()
    count = bench.size(200, 10)
    actors: list[Any] = []
    seconds = once(lambda: create(module, make_small(module), count, actors))
    return {"parallel": (count / seconds, "/s"), **each(module, actors)}


def create(module: Any, small: Any, count: int, actors: list[Any]) -> None:
    """Adds ``count`` actors to ``actors``, and waits until each has answered a call."""
    actors.extend(small.remote() for _ in range(count))
    module.get([actor.pid.remote() for actor in actors[-count:]])


@case(kill=at_least(2), crash=at_least(2))
def death_of_an_actor(bench: Bench) -> Metrics:
    """From kill(), or the crash of the process, to the error at a waiting caller: ≥ 2 times."""
    module = bench.start()
    small = make_small(module)
    deaths = bench.size(DEATHS, 2)

    def time_to_error(ending: Callable[[Any], Any]) -> float:
        """Milliseconds until get() of what ``ending`` returns raises."""
        taken = []
        for _ in range(deaths):
            actor = small.remote()
            module.get(actor.pid.remote())
            began = time.perf_counter()
            ref = ending(actor)
            try:
                module.get(ref)
            except module.exceptions.RayActorError:
                taken.append((time.perf_counter() - began) * 1e3)
        assert len(taken) == deaths, "a call of a dead actor returned"
        return median(taken)

    def kill(actor: Any) -> Any:
        ref = actor.block.remote()
        module.kill(actor)
        return ref

    return {
        "kill": (time_to_error(kill), "ms"),
        "crash": (time_to_error(lambda actor: actor.crash.remote()), "ms"),
    }
