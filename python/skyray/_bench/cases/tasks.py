# SPDX-License-Identifier: Apache-2.0
"""Tasks: alone, in batches, from several submitters, in chains."""

from __future__ import annotations

from typing import Any

from ..measure import call_metrics, rate
from . import Bench, Metrics, at_least, case

BATCH = 1000
CLIENTS = 4


def small(module: Any) -> Any:
    return module.remote(lambda *_: b"ok")


@case(rate=at_least(20))
def task_sync(bench: Bench) -> Metrics:
    """One task at a time: ≥ 20 times the rate."""
    module = bench.start()
    task = small(module)
    return call_metrics(lambda: module.get(task.remote()))


@case(rate=at_least(30))
def task_async(bench: Bench) -> Metrics:
    """1,000 tasks submitted, then all results got: ≥ 30 times the rate."""
    module = bench.start()
    task = small(module)
    return {"rate": (rate(lambda: module.get([task.remote() for _ in range(BATCH)]), BATCH), "/s")}


@case(batches=at_least(25))
def task_get_batch(bench: Bench) -> Metrics:
    """1,000 tasks submitted and all results got, counted in batches: ≥ 25 times."""
    module = bench.start()
    task = small(module)
    return {"batches": (rate(lambda: module.get([task.remote() for _ in range(BATCH)])), "/s")}


@case(batches=at_least(25))
def task_batch_one_by_one(bench: Bench) -> Metrics:
    """1,000 tasks submitted, then each result got on its own: ≥ 25 times the batches."""
    module = bench.start()
    task = small(module)

    def batch() -> None:
        for ref in [task.remote() for _ in range(BATCH)]:
            module.get(ref)

    return {"batches": (rate(batch), "/s")}


@case(batches=at_least(25))
def wait_1000(bench: Bench) -> Metrics:
    """1,000 tasks taken one by one from wait(), the list getting shorter: ≥ 25 times."""
    module = bench.start()
    task = small(module)

    def batch() -> None:
        pending = [task.remote() for _ in range(BATCH)]
        while pending:
            _, pending = module.wait(pending)

    return {"batches": (rate(batch), "/s")}


@case(rate=at_least(30))
def task_multi_client(bench: Bench) -> Metrics:
    """Four actors submit 500 tasks each at the same time: ≥ 30 times the rate."""
    module = bench.start()
    task = small(module)

    class Client:
        def batch(self, size: int) -> None:
            module.get([task.remote() for _ in range(size)])

    clients = [module.remote(Client).remote() for _ in range(CLIENTS)]
    size = BATCH // 2
    operation_rate = rate(
        lambda: module.get([client.batch.remote(size) for client in clients]), size * CLIENTS
    )
    return {"rate": (operation_rate, "/s")}


@case(rate=at_least(20))
def chain_1000(bench: Bench) -> Metrics:
    """A chain of 1,000 tasks, each waiting for the one before: ≥ 20 times the tasks."""
    module = bench.start()
    increment = module.remote(lambda x: x + 1)

    def chain() -> None:
        value: Any = 0
        for _ in range(BATCH):
            value = increment.remote(value)
        assert module.get(value) == BATCH

    return {"rate": (rate(chain, BATCH), "/s")}


@case(rate=at_least(20))
def fan_out_fan_in_1000(bench: Bench) -> Metrics:
    """1,000 tasks, and one more that takes all their results: ≥ 20 times the tasks."""
    module = bench.start()
    task = small(module)

    def fan() -> None:
        module.get(task.remote(*[task.remote() for _ in range(BATCH)]))

    return {"rate": (rate(fan, BATCH + 1), "/s")}
