# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""Programs that use the module's ``util``."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
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
