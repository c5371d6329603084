# SPDX-License-Identifier: Apache-2.0
"""The birth and the death of actors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import process_tree
from measure import median, once

from . import Bench, Metrics, at_least, at_most, case

ACTORS = 50
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


@case(
    sequential=at_least(100), parallel=at_least(100), pss_each=at_most(5), threads_each=at_most(4)
)
def create_50_actors(bench: Bench) -> Metrics:
    """50 actors created and called, one after the other and all at once: ≥ 100 times the rate.

    And an idle one takes ≤ 5 MB (proportional share) and ≤ 4 threads.
    """
    module = bench.start()
    small = make_small(module)
    actors: list[Any] = []

    def sequential() -> None:
        for _ in range(ACTORS):
            actors.append(small.remote())
            module.get(actors[-1].pid.remote())

    def parallel() -> None:
        actors.extend(small.remote() for _ in range(ACTORS))
        module.get([actor.pid.remote() for actor in actors[-ACTORS:]])

    sequential_s = once(sequential)
    for actor in actors:
        module.kill(actor)
    actors.clear()
    parallel_s = once(parallel)
    pids = module.get([actor.pid.remote() for actor in actors])
    return {
        "sequential": (ACTORS / sequential_s, "/s"),
        "parallel": (ACTORS / parallel_s, "/s"),
        "pss_each": (sum(map(process_tree.pss_mb, pids)) / ACTORS, "MB"),
        "threads_each": (sum(map(process_tree.threads, pids)) / ACTORS, ""),
    }


@case(kill=at_least(2), crash=at_least(2))
def death_of_an_actor(bench: Bench) -> Metrics:
    """From kill(), or the crash of the process, to the error at a waiting caller: ≥ 2 times."""
    module = bench.start()
    small = make_small(module)

    def time_to_error(ending: Callable[[Any], Any]) -> float:
        """Milliseconds until get() of what ``ending`` returns raises."""
        taken = []
        for _ in range(DEATHS):
            actor = small.remote()
            module.get(actor.pid.remote())
            began = time.perf_counter()
            ref = ending(actor)
            try:
                module.get(ref)
            except module.exceptions.RayActorError:
                taken.append((time.perf_counter() - began) * 1e3)
        assert len(taken) == DEATHS, "a call of a dead actor returned"
        return median(taken)

    def kill(actor: Any) -> Any:
        ref = actor.block.remote()
        module.kill(actor)
        return ref

    return {
        "kill": (time_to_error(kill), "ms"),
        "crash": (time_to_error(lambda actor: actor.crash.remote()), "ms"),
    }
