# SPDX-License-Identifier: Apache-2.0
"""Small objects: put, get, and many references."""

from __future__ import annotations

from typing import Any

from ..measure import rate
from . import Bench, Metrics, at_least, case

CLIENTS = 4


@case(rate=at_least(80))
def put_small(bench: Bench) -> Metrics:
    """Putting a small value: ≥ 80 times the rate."""
    module = bench.start()

    def hundred() -> None:
        for _ in range(100):
            module.put(0)

    return {"rate": (rate(hundred, 100), "/s")}


@case(rate=at_least(15))
def get_small(bench: Bench) -> Metrics:
    """Getting a small value that this process put: ≥ 15 times the rate."""
    module = bench.start()
    ref = module.put(0)

    def hundred() -> None:
        for _ in range(100):
            module.get(ref)

    return {"rate": (rate(hundred, 100), "/s")}


@case(rate=at_least(80))
def put_small_4_clients(bench: Bench) -> Metrics:
    """Four actors put 500 small values each at the same time: ≥ 80 times the rate."""
    module = bench.start()

    class Client:
        def put(self, times: int) -> None:
            for _ in range(times):
                module.put(0)

    clients = [module.remote(Client).remote() for _ in range(CLIENTS)]
    operation_rate = rate(
        lambda: module.get([client.put.remote(500) for client in clients]), 500 * CLIENTS
    )
    return {"rate": (operation_rate, "/s")}


@case(rate=at_least(15))
def get_small_4_clients(bench: Bench) -> Metrics:
    """Four actors get a small value that each has put, 500 times, at the same time: ≥ 15 times."""
    module = bench.start()

    class Client:
        def __init__(self) -> None:
            self.ref = module.put(0)

        def get(self, times: int) -> None:
            for _ in range(times):
                module.get(self.ref)

    clients = [module.remote(Client).remote() for _ in range(CLIENTS)]
    operation_rate = rate(
        lambda: module.get([client.get.remote(500) for client in clients]), 500 * CLIENTS
    )
    return {"rate": (operation_rate, "/s")}


@case(objects=at_least(10))
def get_10000_refs_inside(bench: Bench) -> Metrics:
    """Getting an object that holds 10,000 references: ≥ 10 times the rate."""
    module = bench.start()
    make = module.remote(lambda: [module.put(i) for i in range(10_000)])
    box = make.remote()
    module.get(box)
    return {"objects": (rate(lambda: module.get(box)), "/s")}


@case(refs=at_least(15))
def refs_as_arguments(bench: Bench) -> Metrics:
    """10,000 references as the arguments of one task: ≥ 15 times the references."""
    module = bench.start()
    count = module.remote(lambda *values: len(values))
    refs: list[Any] = [module.put(i) for i in range(10_000)]

    def call() -> None:
        assert module.get(count.remote(*refs)) == len(refs)

    return {"refs": (rate(call, len(refs)), "/s")}
