# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""Programs that use the module's ``util``."""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import queue
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import program, raised


def _double(ray: Any) -> Any:
    @ray.remote
    def double(x: int) -> int:
        if x < 0:
            raise ValueError(x)
        return 2 * x

    return double


@program(expected=([0, 2, 4, 6], ["ObjectRef"] * 4, [], 25))
def results_as_they_come(ray: Any) -> Any:
    double = _double(ray)
    refs = [double.remote(i) for i in range(4)]
    return (
        sorted(ray.util.as_completed(refs, chunk_size=3)),
        [type(ref).__name__ for ref in ray.util.as_completed(refs, yield_obj_refs=True)],
        list(ray.util.as_completed([])),
        len(list(ray.util.as_completed([double.remote(i) for i in range(25)]))),
    )


@program(
    expected=["ValueError", "ValueError", "TypeError", "TypeError", "TypeError", "TypeError"]
    + ["ValueError", "RayTaskError(ValueError)"]
)
def misuse_of_as_completed(ray: Any) -> Any:
    double = _double(ray)
    ref = double.remote(1)

    def run(*args: Any, **kwargs: Any) -> str:
        return raised(lambda: list(ray.util.as_completed(*args, **kwargs)))

    return [
        run([ref], chunk_size=0),
        run([ref], num_returns=1),
        run([ref], no_such_keyword=1),
        run(ref),
        run((ref, double.remote(2))),
        run([1, 2]),
        run([ref, ref]),
        run([ref, double.remote(-1)]),
    ]


@program(expected=([], [0, 1, 2], [0, 2, 4, 6, 8], [0, 2], "ValueError", "AttributeError"))
def map_unordered_takes_items_as_it_needs_them(ray: Any) -> Any:
    taken = []

    def items() -> Iterator[int]:
        for item in range(5):
            taken.append(item)
            yield item

    double = _double(ray)
    results = ray.util.map_unordered(double, items(), backpressure_size=3, chunk_size=1)
    before = list(taken)
    first = next(results)
    after = list(taken)
    return (
        before,
        after,
        sorted([first, *results]),
        sorted(ray.util.map_unordered(double, range(2), backpressure_size=None)),
        raised(lambda: list(ray.util.map_unordered(double, [1], backpressure_size=0))),
        raised(lambda: list(ray.util.map_unordered(len, ["x"]))),
    )


@program(expected=(["named"], [("apart", "named-elsewhere")], 2))
def names_of_actors(ray: Any) -> Any:
    @ray.remote(num_cpus=0)
    class Named:
        def hello(self) -> None:
            pass

    here = Named.options(name="named").remote()
    there = Named.options(name="named-elsewhere", namespace="apart").remote()
    ray.get([here.hello.remote(), there.hello.remote()])
    found = ray.util.list_named_actors(all_namespaces=True)
    elsewhere = [(it["namespace"], it["name"]) for it in found if it["namespace"] == "apart"]
    return ray.util.list_named_actors(), elsewhere, len(found)


@program(expected=([True, False, True], ["x", "x"], "TypeError", "RuntimeError", 5))
def log_once_and_serializers(ray: Any) -> Any:
    class Locked:
        def __init__(self, value: Any) -> None:
            self.value = value
            self.lock = threading.Lock()

    said = [ray.util.log_once(key) for key in ("one", "one", "two")]
    ray.util.register_serializer(
        Locked, serializer=lambda it: it.value, deserializer=lambda value: Locked(value)
    )
    first = Locked("x")
    values = [it.value for it in ray.get(ray.put([first, first]))]
    five = Locked(5)
    captured = ray.get(ray.remote(lambda: five.value).remote())
    ray.util.register_serializer(Locked, serializer=_fail, deserializer=Locked)
    failing = raised(lambda: ray.put(first))
    ray.util.deregister_serializer(Locked)
    ray.util.deregister_serializer(Locked)
    return said, values, raised(lambda: ray.put(first)), failing, captured


def _fail(value: Any) -> Any:
    raise RuntimeError(value)


@program(expected=(False, [("lock",)], [True], (True, set())))
def what_cannot_be_serialized(ray: Any) -> Any:
    lock = threading.Lock()
    sink = io.StringIO()

    def uses_it() -> object:
        return lock

    fine, failures = ray.util.inspect_serializability(uses_it, print_file=sink)
    return (
        fine,
        [failure.path for failure in failures],
        [failure.obj is lock and failure.parent is uses_it for failure in failures],
        ray.util.inspect_serializability([1], print_file=sink),
    )


@program(
    expected=([2, 4, 6], [2, 4, 6], "StopIteration", "ActorDiedError", [2, 4], "ValueError", True)
)
def a_pool_of_actors(ray: Any) -> Any:
    @ray.remote(num_cpus=0)
    class Doubler:
        def double(self, x: int) -> int:
            if x < 0:
                import os

                os._exit(1)
            return 2 * x

    def submit(actor: Any, x: int) -> Any:
        return actor.double.remote(x)

    pool = ray.util.ActorPool([Doubler.remote(), Doubler.remote()])
    ordered = list(pool.map(submit, [1, 2, 3]))
    unordered = sorted(pool.map_unordered(submit, [1, 2, 3]))
    empty = raised(pool.get_next)
    pool.submit(submit, -1)
    died = raised(pool.get_next)
    after = list(pool.map(submit, [1, 2]))
    actor = pool.pop_idle()
    pool.push(actor)
    return ordered, unordered, empty, died, after, raised(lambda: pool.push(actor)), pool.has_free()


def _pool(ray: Any, *args: Any, **kwargs: Any) -> Any:
    module = importlib.import_module(f"{ray.__name__}.util.multiprocessing")
    return module.Pool(*args, **kwargs)


def _pool_functions() -> tuple[Any, Any]:
    def square(x: int) -> int:
        if x < 0:
            raise ValueError(x)
        return x * x

    def add(x: int, y: int = 0) -> int:
        return x + y

    return square, add


@program(
    expected=([0, 1, 4, 9], [0, 1, 4, 9], [0, 1, 4, 9], [0, 1, 4, 9], [3, 3], 6, 1, [], [2, 3])
)
def a_pool_of_processes(ray: Any) -> Any:
    square, add = _pool_functions()
    with _pool(ray, 2) as pool:
        return (
            pool.map(square, range(4)),
            pool.map(square, iter(range(4)), chunksize=3),
            list(pool.imap(square, range(4))),
            sorted(pool.imap_unordered(square, range(4), chunksize=2)),
            pool.starmap(add, [(1, 2), [3]]),
            pool.apply(add, (1,), {"y": 5}),
            pool.apply_async(square, [-1 + 2]).get(timeout=60),
            pool.map(square, []),
            pool.starmap_async(add, [(1, 1), (1, 2)]).get(),
        )


@program(
    expected=["ValueError", "ValueError", "ValueError", "TypeError", "TypeError", "TypeError"]
    + ["ValueError"] * 5
    + ["(False, True)", "ActorDiedError"]
)
def what_a_pool_refuses(ray: Any) -> Any:
    square, add = _pool_functions()
    pool = _pool(ray, 2)
    failed = pool.map_async(square, [1, -1])
    failed.wait()
    seen = [
        raised(lambda: _pool(ray, 0)),
        raised(lambda: _pool(ray, 100)),
        raised(lambda: pool.map(square, [2, -3])),
        raised(lambda: pool.apply(add)),
        raised(lambda: pool.starmap(add, [1])),
        raised(lambda: pool.map(square, 5)),
        raised(pool.join),
    ]
    pool.close()
    seen += [
        raised(lambda: pool.map(square, [1])),
        raised(lambda: pool.apply_async(square, [1])),
        raised(lambda: pool.imap(square, [1])),
        raised(failed.get),
        str((failed.successful(), failed.ready())),
    ]
    pool.join()
    dying = _pool(ray, 1)
    seen.append(raised(lambda: dying.map(lambda _: __import__("os")._exit(1), [1])))
    dying.terminate()
    return seen


@program(expected=([9], ["ValueError"], [False], "TimeoutError", [5, 6], ["done"]))
def results_of_a_pool(ray: Any) -> Any:
    square, _ = _pool_functions()
    got: list[Any] = []
    errors: list[str] = []
    threads: list[bool] = []
    with _pool(ray, 2) as pool, tempfile.TemporaryDirectory() as folder:

        def record(value: Any) -> None:
            threads.append(threading.current_thread() is threading.main_thread())
            got.append(value)
            told.set()

        def record_error(error: Any) -> None:
            errors.append(type(getattr(error, "underlying", error)).__name__)
            told.set()

        told = threading.Event()
        pool.apply_async(square, (3,), callback=record, error_callback=record_error)
        told.wait(60)
        told.clear()
        pool.map_async(square, [-1], callback=record, error_callback=record_error)
        told.wait(60)
        fifo = os.path.join(folder, "pipe")
        os.mkfifo(fifo)
        late = pool.map_async(lambda path: Path(path).read_text(), [fifo], chunksize=2)
        early = raised(lambda: late.get(timeout=0.01))
        Path(fifo).write_text("done")
        lines = late.get()
    with _pool(ray, 1, _set_variable(), (5,)) as pool:
        values = pool.map(lambda x: int(__import__("os").environ["POOL_VALUE"]) + x, [0, 1])
    return got, errors, threads, early, values, lines


def _set_variable() -> Any:
    def set_variable(value: int) -> None:
        __import__("os").environ["POOL_VALUE"] = str(value)

    return set_variable


@program(
    expected=(
        [0, 0, True, False],
        [1, 2, "x"],
        ["Empty", "Full", "Empty", "Full", "Full", "Empty"],
        ["ValueError", "ValueError", "TypeError", "ValueError", "TypeError"],
        [7, [8, 9]],
        ["AttributeError", None],
    )
)
def a_queue(ray: Any) -> Any:
    module = importlib.import_module(f"{ray.__name__}.util.queue")

    def kind(call: Any) -> str:
        """By type: where the error comes from is the system's choice."""
        try:
            call()
        except module.Empty as error:
            return "Empty" if isinstance(error, queue.Empty) else "another"
        except module.Full as error:
            return "Full" if isinstance(error, queue.Full) else "another"
        return "nothing"

    shared = module.Queue(2)
    fresh = [len(shared), shared.qsize(), shared.empty(), shared.full()]
    shared.put(1)
    shared.put_nowait(2)
    full = [kind(lambda: shared.put(3, timeout=0.01)), kind(lambda: shared.put_nowait_batch([3]))]
    fill = ray.remote(num_cpus=0)(lambda q: [q.put("x"), q.put("y")])
    filling = fill.remote(shared)  # Waits for room.
    items = [shared.get(), shared.get(block=True, timeout=60), shared.get(timeout=60)]
    ray.get(filling)
    shared.get()
    kinds = [
        kind(shared.get_nowait),
        full[0],
        kind(lambda: shared.get(timeout=0.01)),
        full[1],
        kind(lambda: shared.put_nowait_batch([1, 2, 3])),
        kind(lambda: shared.get_nowait_batch(1)),
    ]
    misused = [
        raised(lambda: shared.get(timeout=-1)),
        raised(lambda: shared.put(1, timeout=-1)),
        raised(lambda: shared.put_nowait_batch(5)),
        raised(lambda: shared.get_nowait_batch(-1)),
        raised(lambda: shared.get_nowait_batch("1")),
    ]

    async def awaited() -> Any:
        await shared.put_async(7)
        return await shared.get_async()

    got = [asyncio.run(awaited())]
    shared.put_nowait_batch([8, 9])
    got.append(shared.get_nowait_batch(2))
    shared.shutdown()
    return fresh, items, kinds, misused, got, [raised(shared.qsize), shared.shutdown()]
