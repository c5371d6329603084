# SPDX-License-Identifier: Apache-2.0
"""The store alone: skyray's Plasma beside Arrow's (and what ray.put and get make of the same).

    skyray bench --cases plasma --against-arrow /path/to/arrow-11/bin/python

A cycle is create, write, seal, get, drop both buffers, delete, of data that is not zero. It is
written by NumPy, whose one thread bounds what any store can do with 100 MB; so these are also
written as each store's own client does it: Arrow's with its writer and six threads, skyray's with
the buffer's ``write``. For Ray it is put, get and the end of the reference.
"""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..measure import DURATIONS, latencies, median, percentile
from . import Bench, Metrics, Skipped, at_least, at_most, case, numpy

MB = 1_000_000
SIZES = {"kb_1": 1000, "kb_100": 100_000, "mb_1": MB, "mb_100": 100 * MB}
Write = Callable[[Any, Any], None]  # Data into a buffer.
STORE_BYTES = 2000 * MB
PUTS = 40
COPY_THREADS_MAX = 4  # Of a put.
MILLION = 1_000_000
SMALL_BYTES = 64
COUNTS = {"at_1e3": 1000, "at_1e4": 10_000, "at_1e5": 100_000, "at_1e6": MILLION}


@contextlib.contextmanager
def store(bench: Bench, capacity: int = STORE_BYTES) -> Iterator[tuple[Any, str, int]]:
    """The module, the socket of a store of its own, and that store's pid."""
    names = {"skyray": "skyray.plasma"}
    plasma = importlib.import_module(names.get(bench.module_name, bench.module_name))
    warnings.simplefilter("ignore")  # Arrow says that its Plasma is deprecated.
    with plasma.start_plasma_store(capacity) as (path, process):
        yield plasma, path, process.pid


def without_ray(bench: Bench) -> None:
    if bench.module_name == "ray":
        raise Skipped("its store cannot be used alone")


def data_of(size: int) -> Any:
    np = numpy()
    return np.frombuffer(np.random.default_rng(0).bytes(size), dtype=np.uint8)


def write_by_numpy(buffer: Any, data: Any) -> None:
    np = numpy()
    np.frombuffer(buffer, dtype=np.uint8)[:] = data


def write_by_client(buffer: Any, data: Any) -> None:
    if hasattr(buffer, "write"):
        buffer.write(data)
        return
    pyarrow = importlib.import_module("pyarrow")
    writer = pyarrow.FixedSizeBufferWriter(buffer)
    writer.set_memcopy_threads(6)  # As its put does.
    writer.write(data)
    writer.close()


def plasma_cycle(plasma: Any, client: Any, data: Any, write: Write) -> Callable[[], None]:
    def cycle() -> None:
        object_id = plasma.ObjectID.from_random()
        buffer = client.create(object_id, len(data))
        write(buffer, data)
        client.seal(object_id)
        [found] = client.get_buffers([object_id])
        if len(memoryview(found)) != len(data):
            raise ValueError("an object of another size")
        del buffer, found
        client.delete([object_id])

    return cycle


WRITTEN: list[tuple[str, int, Write]] = [
    *((name, size, write_by_numpy) for name, size in SIZES.items()),
    ("mb_100_own", SIZES["mb_100"], write_by_client),
]


def timed_rate(cycle: Callable[[], None], batch: int) -> float:
    end = time.perf_counter() + DURATIONS.warm_s
    while time.perf_counter() < end:
        cycle()
    done = 0
    began = time.perf_counter()
    while True:
        for _ in range(batch):
            cycle()
        done += batch
        seconds = time.perf_counter() - began
        if seconds > DURATIONS.measure_s:
            return done / seconds


def rate_of_clients(number: int, work: Callable[[], float]) -> float:
    """The sum of what ``work`` gives in so many processes at once."""
    pipes = []
    for _ in range(number):
        readable, writable = os.pipe()
        if os.fork() == 0:
            try:
                os.write(writable, repr(work()).encode())
            finally:
                os._exit(0)
        os.close(writable)
        pipes.append(readable)
    total = 0.0
    for readable in pipes:
        with open(readable) as pipe:
            total += float(pipe.read())
        os.wait()
    return total


def cycles(bench: Bench, clients: int) -> Metrics:
    if bench.module_name == "ray":
        if clients > 1:
            without_ray(bench)
        return ray_cycles(bench)
    metrics: Metrics = {}
    with store(bench) as (plasma, path, _):
        for name, size, write in WRITTEN:
            data = data_of(size)

            def work(size: int = size, data: Any = data, write: Write = write) -> float:
                cycle = plasma_cycle(plasma, plasma.connect(path), data, write)
                return timed_rate(cycle, 1 if size >= MB else 50)

            metrics[name] = (rate_of_clients(clients, work), "/s")
    return metrics


def ray_cycles(bench: Bench) -> Metrics:
    ray = bench.start(object_store_memory=STORE_BYTES)
    metrics: Metrics = {}
    for name, size in SIZES.items():
        data = data_of(size)

        def cycle(data: Any = data) -> None:
            ray.get(ray.put(data))

        metrics[name] = (timed_rate(cycle, 1 if size >= MB else 20), "/s")
    return metrics


CYCLE_CLAIMS = {
    "kb_1": at_least(4),
    "kb_100": at_least(4),
    "mb_1": at_least(3),
    "mb_100": at_least(1.5),
    "mb_100_own": at_least(1.5),
}


@case(**CYCLE_CLAIMS)
def plasma_cycle_1_client(bench: Bench) -> Metrics:
    """Cycles per second of one client: ≥ 4 times Arrow's up to 100 KB, ≥ 3 at 1 MB, ≥ 1.5
    at 100 MB however written."""
    return cycles(bench, 1)


@case(**CYCLE_CLAIMS)
def plasma_cycle_4_clients(bench: Bench) -> Metrics:
    """Cycles per second of four processes together: the same claims."""
    return cycles(bench, 4)


@case(warm=at_least(1.5), memcpy_share=at_most(1.11))
def plasma_put_100_mb(bench: Bench) -> Metrics:
    """Bytes as they are, put and deleted. Warm: ≤ 1.11 of the time of memcpy on as many threads.

    cold: into memory of the store nobody has touched; warm: into memory used before; memcpy: into
    shared memory this process has touched, in turn with the warm puts, with a part for each of
    as many threads as a put uses.
    """
    without_ray(bench)
    np = numpy()
    data = data_of(100 * MB)
    shared = np.frombuffer(mmap.mmap(-1, len(data)), dtype=np.uint8)
    with store(bench) as (plasma, path, _):
        client = plasma.connect(path)

        def put() -> float:
            began = time.perf_counter()
            object_id = client.put_raw_buffer(data)
            seconds = time.perf_counter() - began
            ids.append(object_id)
            return seconds

        threads = min(len(os.sched_getaffinity(0)), COPY_THREADS_MAX)
        pool = ThreadPoolExecutor(threads)
        parts = list(zip(np.array_split(shared, threads), np.array_split(data, threads)))

        def copy() -> float:
            began = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))
            return time.perf_counter() - began

        ids: list[Any] = []
        cold = [put() for _ in range(10)]
        client.delete(ids)
        copy()
        warm, memcpy = [], []
        for _ in range(bench.size(PUTS, 2)):
            warm.append(put())
            client.delete([ids.pop()])
            memcpy.append(copy())
    return {
        "cold": (0.1 / median(cold), "GB/s"),
        "warm": (0.1 / median(warm), "GB/s"),
        "memcpy": (0.1 / median(memcpy), "GB/s"),
        "memcpy_share": (median(warm) / median(memcpy), "of its time"),
    }


@case(there=at_least(2), woken=at_least(1))
def plasma_get(bench: Bench) -> Metrics:
    """A get of another client's object of 1 KB. there: sealed before, ≥ 2 times as fast;
    woken: from before the other process seals it to when it is here."""
    without_ray(bench)
    with store(bench) as (plasma, path, _):
        client, other = plasma.connect(path), plasma.connect(path)
        object_id = other.put_raw_buffer(data_of(1000))
        there = latencies(lambda: client.get_buffers([object_id]))
        wakes = bench.size(300, 10)
        ids = [plasma.ObjectID.from_random() for _ in range(wakes)]
        if os.fork() == 0:
            try:
                sealer = plasma.connect(path)
                for object_id in ids:
                    # Long enough for the other to wait; the time of the seal is in the object.
                    time.sleep(0.002)
                    now = time.perf_counter_ns().to_bytes(8, "little")
                    sealer.create_and_seal(object_id, now)
            finally:
                os._exit(0)
        woken = []
        for object_id in ids:
            [buffer] = client.get_buffers([object_id])
            here = time.perf_counter_ns()
            woken.append((here - int.from_bytes(bytes(buffer), "little")) / 1000)
        os.wait()
    return {"there": (percentile(there, 50), "µs"), "woken": (median(woken), "µs")}


@case(memory=at_most(300), slowdown=at_most(1.25))
def plasma_million_objects(bench: Bench) -> Metrics:
    """10^6 objects of 64 bytes: ≤ 300 bytes of the store's own memory each (theirs not counted);
    a cycle (64 bytes) beside so many costs ≤ 1.25 of what it costs beside 1000."""
    without_ray(bench)
    metrics: Metrics = {}
    data = b"x" * SMALL_BYTES
    with store(bench) as (plasma, path, pid):
        client = plasma.connect(path)
        held: list[Any] = []
        cycle = plasma_cycle(plasma, client, data_of(SMALL_BYTES), write_by_numpy)
        empty_kb = own_kb(pid)
        for name, full in COUNTS.items():
            count = bench.size(full, full // 100)
            while len(held) < count:
                object_id = plasma.ObjectID.from_random()
                client.create_and_seal(object_id, data)
                held.append(object_id)
            metrics[name] = (1e6 / timed_rate(cycle, 100), "µs")
        metrics["memory"] = ((own_kb(pid) - empty_kb) * 1024 / len(held), "B")
    metrics["slowdown"] = (metrics["at_1e6"][0] / metrics["at_1e3"][0], "times")
    return metrics


def own_kb(pid: int) -> int:
    """Private memory of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise ValueError(f"no RssAnon of process {pid}")
