# SPDX-License-Identifier: Apache-2.0
"""Large arrays: into the store, out of it in another process, as arguments and as results."""

from __future__ import annotations

import time
from typing import Any

from ..measure import call_metrics, median, once, rate
from . import Bench, Metrics, at_least, case, numpy

MB = 1_000_000
STORE_BYTES = 4_000 * MB
COLD_PUTS = 10
WARM_PUTS = 60
CLIENTS = 4
CLIENT_PUTS = 5


@case(cold=at_least(1), random=at_least(1.4), zeros=at_least(1))
def put_100_mb(bench: Bench) -> Metrics:
    """Never below the other system; random data ≥ 1.4 times.

    The typical put, by median. cold: into memory of the store that nobody has touched; random and
    zeros: into memory used before (all zeros is one page of the source, read from cache).
    """
    np = numpy()
    module = bench.start(object_store_memory=STORE_BYTES)
    random = np.random.default_rng(0).integers(0, 256, 100 * MB, dtype=np.uint8)
    held: list[Any] = []
    cold_puts, warm_puts = bench.size(COLD_PUTS, 2), bench.size(WARM_PUTS, 2)
    cold_s = [once(lambda: held.append(module.put(random))) for _ in range(cold_puts)]
    held.clear()

    def typical_gb_per_s(array: Any) -> float:
        for _ in range(warm_puts // 2):
            module.put(array)
        return 0.1 / median([once(lambda: module.put(array)) for _ in range(warm_puts)])

    return {
        "cold": (0.1 / median(cold_s), "GB/s"),
        "random": (typical_gb_per_s(random), "GB/s"),
        "zeros": (typical_gb_per_s(np.zeros(100 * MB, dtype=np.uint8)), "GB/s"),
    }


@case(rate=at_least(1))
def put_100_mb_4_clients(bench: Bench) -> Metrics:
    """Four actors put 100 MB of zeros five times each at the same time: never below the other."""
    np = numpy()
    module = bench.start(object_store_memory=STORE_BYTES)

    class Client:
        def __init__(self) -> None:
            self.array = np.zeros(100 * MB, dtype=np.uint8)

        def put(self, times: int) -> None:
            for _ in range(times):
                module.put(self.array)

    clients = [module.remote(Client).remote() for _ in range(CLIENTS)]

    def all_put() -> None:
        module.get([client.put.remote(CLIENT_PUTS) for client in clients])

    return {"rate": (rate(all_put) * CLIENTS * CLIENT_PUTS / 10, "GB/s")}


@case(mb_1=at_least(3), mb_100=at_least(3))
def get_in_another_process(bench: Bench) -> Metrics:
    """The first get of an array of 1 MB, of 100 MB, that another process put: ≥ 3 times as fast."""
    np = numpy()
    module = bench.start(object_store_memory=STORE_BYTES)

    class Reader:
        def first_gets(self, refs: list[Any]) -> list[float]:
            seconds, arrays = [], []
            for ref in refs:
                began = time.perf_counter()
                arrays.append(module.get(ref))
                seconds.append(time.perf_counter() - began)
            return seconds

    reader = module.remote(Reader).remote()

    def first_get_us(size: int, number: int) -> float:
        refs = [module.put(np.ones(size, dtype=np.uint8)) for _ in range(number)]
        return median(module.get(reader.first_gets.remote(refs))) * 1e6

    first_get_us(MB, 5)
    return {
        "mb_1": (first_get_us(MB, bench.size(100, 5)), "µs"),
        "mb_100": (first_get_us(100 * MB, bench.size(10, 2)), "µs"),
    }


@case(p50=at_least(15))
def stored_array_as_argument(bench: Bench) -> Metrics:
    """A call of an actor with a stored array of 1 MB as its argument: ≥ 15 times as fast."""
    np = numpy()
    module = bench.start()

    class Reader:
        def size(self, array: Any) -> int:
            return len(array)

    reader = module.remote(Reader).remote()
    ref = module.put(np.ones(MB, dtype=np.uint8))
    return call_metrics(lambda: module.get(reader.size.remote(ref)))


@case(mb_1=at_least(5), mb_100=at_least(1.5))
def array_returned_by_a_task(bench: Bench) -> Metrics:
    """A task's array of 1 MB, of 100 MB, got by the driver: ≥ 5 times, ≥ 1.5 times the bytes."""
    np = numpy()
    module = bench.start(object_store_memory=STORE_BYTES)
    made: dict[int, Any] = {}

    def make(size: int) -> Any:
        if size not in made:  # Once per worker: measured is the way back.
            made[size] = np.ones(size, dtype=np.uint8)
        return made[size]

    task = module.remote(make)
    return {
        "mb_1": (rate(lambda: module.get(task.remote(MB))) / 1000, "GB/s"),
        "mb_100": (rate(lambda: module.get(task.remote(100 * MB))) / 10, "GB/s"),
    }


@case(rate=at_least(3))
def tree_reduce_64_x_8_mb(bench: Bench) -> Metrics:
    """64 arrays of 8 MB made by tasks and added up in pairs by tasks: ≥ 3 times the bytes."""
    np = numpy()
    module = bench.start(object_store_memory=STORE_BYTES)
    make = module.remote(lambda value: np.full(MB, value, dtype=np.int64))
    add = module.remote(lambda x, y: x + y)

    def reduce() -> None:
        parts = [make.remote(i) for i in range(64)]
        while len(parts) > 1:
            parts = [add.remote(*parts[i : i + 2]) for i in range(0, len(parts), 2)]
        assert module.get(parts[0])[0] == sum(range(64))

    return {"rate": (rate(reduce) * 64 * 8 / 1000, "GB/s")}
