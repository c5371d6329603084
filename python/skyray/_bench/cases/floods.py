# SPDX-License-Identifier: Apache-2.0
"""Very many tasks at once: what the last of them costs, and what all of them take."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from .. import process_tree
from ..measure import median, once
from . import Bench, Metrics, Skipped, at_least, at_most, case

FLOODS = {"rate_1k": 1000, "rate_10k": 10_000, "rate_100k": 100_000}
MILLION = 1_000_000
QUEUED = 20_000
WARM = 1000


def start_small(bench: Bench) -> tuple[Any, Any]:
    """The module and a task, workers and code warm."""
    module = bench.start()
    task = module.remote(lambda: b"ok")
    module.get([task.remote() for _ in range(WARM)])
    return module, task


def flood_s(module: Any, task: Any, count: int, held: list[Any]) -> float:
    """Seconds of ``count`` tasks submitted and got; ``held`` keeps the references."""

    def flood() -> None:
        held.extend(task.remote() for _ in range(count))
        module.get(held)

    return once(flood)


def driver_kb() -> float:
    return process_tree.pss_mb(os.getpid()) * 1024


@case(rate_1k=at_least(30), rate_10k=at_least(30), rate_100k=at_least(30))
def flood(bench: Bench) -> Metrics:
    """1,000, 10,000 and 100,000 tasks submitted at once, then all got: ≥ 30 times the rate.

    held: driver memory for each of the 100,000 while their results are held.
    """
    module, task = start_small(bench)
    metrics: Metrics = {}
    for name, full in FLOODS.items():
        count = bench.size(full, full // 100)
        held: list[Any] = []
        before = driver_kb()
        metrics[name] = (count / flood_s(module, task, count, held), "/s")
        metrics["held"] = ((driver_kb() - before) / count, "KB")
    return metrics


@case(slowdown=at_most(1.25))
def flood_of_a_million(bench: Bench) -> Metrics:
    """10^6 tasks at once; each costs ≤ 1.25 of what it costs among 10,000 (skyray only).

    Both in memory that the allocator has got before; first: the million without.
    """
    if not bench.is_ours:
        raise Skipped("only skyray is asked: at the other's rate it takes minutes")
    module, task = start_small(bench)
    small, large = bench.size(10_000, 1000), bench.size(MILLION, 10_000)
    flood_s(module, task, small, [])
    small_s = median([flood_s(module, task, small, []) for _ in range(5)])
    held: list[Any] = []
    before = driver_kb()
    first_s = flood_s(module, task, large, held)
    held_kb = (driver_kb() - before) / large
    held.clear()
    large_s = flood_s(module, task, large, held)
    return {
        "rate": (large / large_s, "/s"),
        "slowdown": ((large_s / large) / (small_s / small), "times"),
        "first": ((first_s / large) / (small_s / small), "times"),
        "held": (held_kb, "KB"),
    }


@case(memory_each=at_most(1))
def queued_tasks(bench: Bench) -> Metrics:
    """20,000 tasks queued behind others that keep all CPUs: ≤ 1 KB of driver memory each."""
    module, task = start_small(bench)
    count = bench.size(QUEUED, 1000)
    with tempfile.TemporaryDirectory() as folder:

        def occupy(number: int) -> None:
            with open(f"{folder}/{number}", "w"):
                pass
            while not os.path.exists(f"{folder}/go"):
                time.sleep(0.01)

        remote = module.remote(occupy)
        occupying = [remote.remote(number) for number in range(bench.num_cpus)]
        while len(os.listdir(folder)) < bench.num_cpus:
            time.sleep(0.01)
        before = driver_kb()
        queued = [task.remote() for _ in range(count)]
        grown = driver_kb() - before
        with open(f"{folder}/go", "w"):
            pass
        module.get(occupying + queued)
    return {"memory_each": (grown / count, "KB")}
