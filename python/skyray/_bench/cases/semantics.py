# SPDX-License-Identifier: Apache-2.0
"""Generators, cancelled tasks, restarts, placement groups, and a long run."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Iterator
from typing import Any

from .. import process_tree
from ..measure import median, once, rate
from . import Bench, Metrics, Skipped, at_least, at_most, case

ITEMS = 20_000
GROUPS = 100
BATCH = 1_000
ENDINGS = 10
LOST_S = 10.0
REFS = 10_000


@case(rate=at_least(8))
def stream_items(bench: Bench) -> Metrics:
    """Small items of one streaming generator, each got as it comes: ≥ 8 times."""
    module = bench.start()

    def items(count: int) -> Iterator[int]:
        number = 0
        while number < count:  # (Ray sends into it, so that it cannot be a range's own.)
            yield number
            number += 1

    remote = module.remote(items)

    def take() -> None:
        for ref in remote.remote(ITEMS):
            module.get(ref)

    return {"rate": (rate(take, ITEMS), "/s")}


def make_async(module: Any) -> Any:
    class Loop:
        async def nothing(self) -> None: ...

        async def pause(self) -> None:
            await asyncio.sleep(3600)

    return module.remote(Loop)


@case(task=at_least(2), call=at_least(2))
def cancel(bench: Bench) -> Metrics:
    """From cancel() of what runs to the error at get(): ≥ 2 times as fast."""
    module = bench.start()

    class Gate:
        def __init__(self) -> None:
            self.begun = 0

        def note(self) -> None:
            self.begun += 1

        def count(self) -> int:
            return self.begun

    gate = module.remote(Gate).options(num_cpus=0).remote()

    def spin(gate: Any) -> None:
        module.get(gate.note.remote())
        while True:
            pass

    task = module.remote(spin)
    actor = make_async(module).remote()
    module.get(actor.nothing.remote())

    def time_to_error(ref: Any) -> float:
        began = time.perf_counter()
        module.cancel(ref)
        try:
            module.get(ref, timeout=LOST_S)
        except module.exceptions.GetTimeoutError:
            module.cancel(ref, force=True)  # Ray loses one now and then: it counts as so long.
            return LOST_S * 1e3
        except module.exceptions.RayError:
            return (time.perf_counter() - began) * 1e3
        raise AssertionError("a cancelled call returned")

    tasks, calls = [], []
    for number in range(bench.size(ENDINGS, 2)):
        ref = task.remote(gate)
        while module.get(gate.count.remote()) == number:
            pass
        tasks.append(time_to_error(ref))
        ref = actor.pause.remote()
        module.get(actor.nothing.remote())  # It is behind the other, which has begun.
        calls.append(time_to_error(ref))
    return {"task": (median(tasks), "ms"), "call": (median(calls), "ms")}


@case(restart=at_least(2))
def restart(bench: Bench) -> Metrics:
    """From the death of an actor that restarts to the answer of its next call: ≥ 2 times."""
    module = bench.start()

    class Phoenix:
        def pid(self) -> int:
            return os.getpid()

    actor = module.remote(Phoenix).options(max_restarts=-1, max_task_retries=-1).remote()
    taken = []
    for _ in range(bench.size(ENDINGS, 2)):
        before = module.get(actor.pid.remote())

        def revive(before: int = before) -> None:
            module.kill(actor, no_restart=False)
            while module.get(actor.pid.remote()) == before:
                pass

        taken.append(once(revive) * 1e3)
    return {"restart": (median(taken), "ms")}


@case(rate=at_least(10))
def list_of_10000_refs(bench: Bench) -> Metrics:
    """A list of 10,000 references as one argument, which the task gets: ≥ 10 times."""
    module = bench.start()

    def get_all(refs: list[Any]) -> int:
        return len(module.get(refs))

    task = module.remote(get_all)
    refs = [module.put(number) for number in range(REFS)]
    module.get(task.remote(refs))
    seconds = median([once(lambda: module.get(task.remote(refs))) for _ in range(5)])
    return {"rate": (REFS / seconds, "/s")}


@case(rate=at_least(10))
def placement_groups(bench: Bench) -> Metrics:
    """100 placement groups created, waited for and removed: ≥ 10 times the groups."""
    module = bench.load()
    try:
        groups = importlib.import_module(f"{bench.module_name}.util.placement_group")
    except ImportError:
        raise Skipped("has no placement groups") from None
    module.init(num_cpus=bench.num_cpus, resources={"custom": 100})

    def create_and_remove() -> None:
        made = [groups.placement_group([{"custom": 0.001}]) for _ in range(GROUPS)]
        for group in made:
            assert group.wait(timeout_seconds=30)
        for group in made:
            groups.remove_placement_group(group)

    return {"rate": (rate(create_and_remove, GROUPS), "/s")}


@case(rate=at_least(10), driver_growth=at_most(50), raylet_growth=at_most(50))
def soak(bench: Bench) -> Metrics:
    """1,000,000 tasks through one driver (50,000 of the other's), in batches that are got and let
    go of: what the driver and its raylet grow by for each task after the first tenth: ≤ 50 bytes.
    """
    module = bench.start()
    total = bench.size(1_000_000 if bench.is_ours else 50_000, 10_000)

    def nothing(number: int) -> int:
        return number

    task = module.remote(nothing)
    raylets = [
        pid for pid in process_tree.all_pids() if b"raylet" in process_tree.read(pid, "comm")
    ]
    mine = [pid for pid in raylets if _is_ours(pid)]

    def run(count: int) -> None:
        for _ in range(count // BATCH):
            module.get([task.remote(number) for number in range(BATCH)])

    run(total // 10)
    driver, raylet = process_tree.pss_mb(os.getpid()), sum(map(process_tree.pss_mb, mine))
    rest = total - total // 10
    seconds = once(lambda: run(rest))
    grown = (process_tree.pss_mb(os.getpid()) - driver) * 1e6 / rest
    raylet_grown = (sum(map(process_tree.pss_mb, mine)) - raylet) * 1e6 / rest
    return {
        "rate": (rest / seconds, "/s"),
        "driver_growth": (grown, "B"),
        "raylet_growth": (raylet_grown, "B"),
    }


def _is_ours(pid: int) -> bool:
    """Whether this benchmark's run started it."""
    mark = os.environ.get(process_tree.MARK, "")
    return mark.encode() in process_tree.read(pid, "environ")
