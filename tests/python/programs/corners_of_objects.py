# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator, no-any-return"
# ruff: noqa: UP028  (Ray cannot run `yield from`.)
"""Corners of objects and of references: what Ray's documents say beyond the main road."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import program, raised


@program(
    expected=(
        [
            "RayTaskError(RaySystemError)",
            "RaySystemError",
            "RaySystemError",
            "RayTaskError(RaySystemError)",
            "RayTaskError(RaySystemError)",
        ],
        2,
    )
)
def values_that_cannot_be_unpickled(ray: Any) -> Any:
    class Poison:
        def __reduce__(self) -> Any:
            return _fails, ("poison",)

    def _fails(what: str) -> None:
        raise KeyError(what)

    @ray.remote
    def takes(x: Any) -> int:
        return 1

    @ray.remote
    def gives() -> Any:
        return Poison()

    @ray.remote
    class Actor:
        def take(self, x: Any) -> int:
            return 1

        def fine(self) -> int:
            return 2

    actor = Actor.remote()
    found = [
        raised(lambda: ray.get(takes.remote(Poison()))),
        raised(lambda: ray.get(gives.remote())),
        raised(lambda: ray.get(ray.put(Poison()))),
        raised(lambda: ray.get(actor.take.remote(Poison()))),
        raised(lambda: ray.get(takes.remote(gives.remote()))),
    ]
    return found, ray.get(actor.fine.remote())


@program(
    expected=(
        [
            "ValueError",
            "ValueError",
            "ValueError",
            "ValueError",
            "TypeError",
            "TypeError",
            "TypeError",
            "TypeError",
            "ValueError",
            "TypeError",
            "TypeError",
            "nothing",
        ],
        [2, 1, True, True, True],
        1,
        "TaskCancelledError",
    )
)
def wait_at_its_limits(ray: Any) -> Any:
    @ray.remote
    def never() -> None:
        import time

        time.sleep(1000)

    ref, other = ray.put(1), ray.put(2)
    stuck = never.options(num_cpus=0).remote()
    found = [
        raised(lambda: ray.wait([ref, ref])),
        raised(lambda: ray.wait([ref], num_returns=0)),
        raised(lambda: ray.wait([ref], num_returns=-1)),
        raised(lambda: ray.wait([ref], num_returns=2)),
        raised(lambda: ray.wait([ref], num_returns="1")),
        raised(lambda: ray.wait(ref)),
        raised(lambda: ray.wait((ref,))),
        raised(lambda: ray.wait([1])),
        raised(lambda: ray.wait([ref], timeout=-1)),
        raised(lambda: ray.wait([ref], timeout="1")),
        raised(lambda: ray.wait({ref})),
        raised(lambda: ray.wait([])),
    ]
    ready, rest = ray.wait([stuck, ref, other], num_returns=3, timeout=0)
    numbers = [len(ready), len(rest), rest == [stuck]]
    ready, rest = ray.wait([stuck, other, ref], num_returns=2, fetch_local=False)
    numbers += [ready == [other, ref], rest == [stuck]]
    ray.cancel(stuck, force=True)
    ready, rest = ray.wait([stuck], timeout=30)
    return found, numbers, len(ready), raised(lambda: ray.get(stuck))


@program(expected=(["late", ["late"], "late"], [1, 2], ["GetTimeoutError", "ValueError"]))
def numbers_that_are_nearly_wrong(ray: Any) -> Any:
    @ray.remote
    def late() -> str:
        import time

        time.sleep(0.2)
        return "late"

    for_ever = [
        ray.get(late.remote(), timeout=-1),
        ray.get([late.remote()], timeout=-1),
        ray.get(late.remote(), timeout=-1.0),
    ]
    refs = [ray.put(1), ray.put(2)]
    counts = [len(ray.wait(refs, num_returns=number, timeout=30)[0]) for number in (1.0, 2.0)]
    errors = [
        raised(lambda: ray.get(late.remote(), timeout=-0.0001)),
        raised(lambda: ray.wait(refs, timeout=-0.0001)),
    ]
    return for_ever, counts, errors


@program(expected=([True, True, 0, True, 1, True, "StopIteration"], 2, "ValueError"))
def wait_for_generators(ray: Any) -> Any:
    @ray.remote
    def items(n: int) -> Any:
        for i in range(n):
            yield i

    generator, empty = items.remote(2), items.remote(0)
    ready, rest = ray.wait([generator], timeout=30)
    found = [ready == [generator], rest == [], ray.get(next(generator))]
    ready, rest = ray.wait([generator], timeout=30)
    found += [ready == [generator], ray.get(next(generator))]
    ready, rest = ray.wait([empty], timeout=30)
    found += [ready == [empty], raised(lambda: next(empty))]
    ready, rest = ray.wait([generator, ray.put(1)], num_returns=2, timeout=30)
    return found, len(ready), raised(lambda: ray.wait([generator, generator]))


@program(
    expected=[
        [],
        [1, 1],
        "TypeError",
        "ValueError",
        "ValueError",
        "ValueError",
        "TypeError",
        "nothing",
        "TypeError",
        "TypeError",
        1,
        1,
    ]
)
def what_get_takes(ray: Any) -> Any:
    ref = ray.put(1)
    return [
        ray.get([]),
        ray.get([ref, ref]),
        raised(lambda: ray.get([[ref]])),
        raised(lambda: ray.get((ref,))),
        raised(lambda: ray.get({ref})),
        raised(lambda: ray.get(None)),
        raised(lambda: ray.get([ref, 1])),
        raised(lambda: ray.get(ref, timeout=-1)),
        raised(lambda: ray.get(ref, 1)),
        raised(lambda: ray.put(ref)),
        ray.get(ray.get(ray.put([ref]))[0]),
        ray.get(ref, timeout=0),
    ]


@program(
    expected=[
        [1, 2],
        [1, 2],
        "RayTaskError(ValueError)",
        "RayTaskError(ValueError)",
        "RayTaskError(TypeError)",
        "RayTaskError(TypeError)",
        ["a", "b"],
        [1, 3],
        [0, 1],
        "RayTaskError(TypeError)",
    ]
)
def returns_that_do_not_match(ray: Any) -> Any:
    @ray.remote(num_returns=2)
    def gives(value: Any) -> Any:
        return value

    def outcome(value: Any) -> Any:
        first, second = gives.remote(value)
        try:
            return ray.get([first, second])
        except Exception as error:
            return type(error).__name__

    return [
        outcome((1, 2)),
        outcome([1, 2]),
        outcome((1, 2, 3)),
        outcome((1,)),
        outcome(5),
        outcome(None),
        outcome("ab"),
        outcome({1: 2, 3: 4}),
        outcome(np.arange(2)),
        outcome(iter([1, 2])),
    ]


@program(
    expected=[
        [0, 1, "RayTaskError(ValueError)"],
        "StopIteration",
        None,
        ["RayTaskError(KeyError)"],
        [0, 1, "RayTaskError(ValueError)"],
        ["RayTaskError(ValueError)"],
        [0, 1, 2],
        [0, 1, "RayTaskError(ValueError)"],
        [0, 1, 2],
        ["RayTaskError(ValueError)", "RayTaskError(ValueError)", "RayTaskError(ValueError)"],
        [1, "RayTaskError(ValueError)", "RayTaskError(ValueError)"],
    ]
)
def generators_that_raise(ray: Any) -> Any:
    @ray.remote
    def breaks(n: int) -> Any:
        for i in range(n):
            yield i
        raise ValueError("after")

    @ray.remote(num_returns="dynamic")
    def listed(n: int) -> Any:
        for i in range(n):
            yield i
        raise ValueError("after")

    @ray.remote(num_returns=3)
    def fixed(n: int) -> Any:
        for i in range(n):
            yield i

    @ray.remote(num_returns=3)
    def half() -> Any:
        yield 1
        raise ValueError("half way")

    @ray.remote
    def at_once() -> Any:
        raise KeyError("at once")
        yield 1

    def taken(generator: Any) -> list[Any]:
        found: list[Any] = []
        for ref in generator:
            try:
                found.append(ray.get(ref))
            except Exception as error:
                found.append(type(error).__name__)
        return found

    generator = breaks.remote(2)
    return [
        taken(generator),
        raised(lambda: next(generator)),
        ray.get(breaks.remote(1).completed()),
        taken(at_once.remote()),
        taken(ray.get(listed.remote(2))),
        taken(ray.get(listed.remote(0))),
        taken(fixed.remote(3)),
        taken(fixed.remote(2)),
        taken(fixed.remote(4)),
        taken(fixed.remote(0)),
        taken(half.remote()),
    ]


@program(expected=["ObjectRef", "ObjectRef", "int", "ObjectRef"])
def refs_deep_in_arguments_stay_refs(ray: Any) -> Any:
    @ray.remote
    def kinds(a: Any, *, b: Any, **c: Any) -> Any:
        return [type(x).__name__ for x in (a[0], b["k"], c["d"], c["e"][0])]

    ref = ray.put(1)
    return ray.get(kinds.remote([ref], b={"k": ref}, d=ref, e=(ref,)))


@program(
    expected=[
        "RayTaskError(KeyError)",
        "RayTaskError(KeyError)",
        "RayTaskError(KeyError)",
        "caught",
        "RayTaskError(KeyError)",
        1,
        "ActorDiedError",
        "RayTaskError(KeyError)",
    ]
)
def errors_of_dependencies(ray: Any) -> Any:
    @ray.remote
    def fails() -> None:
        raise KeyError("first")

    @ray.remote
    def takes(*args: Any, **kwargs: Any) -> int:
        return 1

    @ray.remote
    def catches(refs: list[Any]) -> str:
        try:
            ray.get(refs[0])
        except KeyError as error:
            return f"caught {error.args[0] if error.args else ''}"[:6]
        return "nothing"

    @ray.remote
    class Actor:
        def __init__(self, x: Any = 0) -> None:
            self.x = x

        def take(self, x: Any) -> int:
            return 1

    actor = Actor.remote()
    return [
        raised(lambda: ray.get(takes.remote(fails.remote()))),
        raised(lambda: ray.get(takes.remote(1, k=fails.remote()))),
        raised(lambda: ray.get(takes.remote(takes.remote(fails.remote())))),
        ray.get(catches.remote([fails.remote()])),
        raised(lambda: ray.get(actor.take.remote(fails.remote()))),
        ray.get(actor.take.remote(1)),
        raised(lambda: ray.get(Actor.remote(fails.remote()).take.remote(1))),
        raised(lambda: ray.get([ray.put(1), fails.remote(), takes.remote()])),
    ]


@program(
    expected=[
        (True, False, 2, 2),
        True,
        True,
        False,
        False,
        True,
        2,
        28,
        False,
        "TaskID",
        "JobID",
        "TypeError",
        "TypeError",
        True,
    ]
)
def refs_as_keys_and_in_sets(ray: Any) -> Any:
    a, b = ray.put(1), ray.put(2)

    @ray.remote
    def same(refs: list[Any], table: dict[Any, int]) -> Any:
        return refs[0] == refs[1], refs[0] == refs[2], table[refs[2]], len({*refs})

    got = ray.get(ray.put(a and [a]))[0]
    return [
        ray.get(same.remote([a, a, b], {a: 1, b: 2})),
        got == a,
        hash(got) == hash(a),
        a == b,
        a == 1,
        a != a.hex(),
        len({a, b, got}),
        len(a.binary()),
        a.is_nil(),
        type(a.task_id()).__name__,
        type(a.job_id()).__name__,
        raised(lambda: a < b),
        raised(lambda: iter(a)),
        bool(a),
    ]


@program(
    expected=[
        [4, 16, 24, 28, 28, 18],
        [True, True, True, True, True, True],
        [True, True, True, True, True, True],
        7,
        True,
        [True, True, True],
        True,
        True,
        True,
        False,
        False,
        True,
        36,
        "ValueError",
        "TypeError",
        "OverflowError",
        "TypeError",
        3,
    ]
)
def ids(ray: Any) -> Any:
    job = ray.JobID.from_int(7)
    driver = ray.TaskID.for_driver_task(job)
    actor = ray.ActorID.of(job, driver, 1)
    normal = ray.TaskID.for_normal_task(job, driver, 3)
    method = ray.TaskID.for_actor_task(job, driver, 3, actor)
    kinds = [ray.JobID, ray.ActorID, ray.TaskID, ray.NodeID, ray.WorkerID, ray.PlacementGroupID]
    return [
        [kind.size() for kind in kinds],
        [kind.nil().is_nil() for kind in kinds],
        [kind.from_hex(kind.nil().hex()) == kind.nil() for kind in kinds],
        job.int(),
        actor.job_id == job,
        [task.job_id() == job for task in (driver, normal, method)],
        method.actor_id() == actor,
        ray.TaskID.for_actor_creation_task(actor).actor_id() == actor,
        normal == ray.TaskID.for_normal_task(job, driver, 3),
        normal == ray.TaskID.for_normal_task(job, driver, 4),
        ray.TaskID.for_fake_task(job) == ray.TaskID.for_fake_task(job),
        driver.hex()[:40] == "f" * 40,
        len(ray.PlacementGroupID.of(job).hex()),
        raised(lambda: ray.JobID(b"x")),
        raised(lambda: ray.NodeID("x")),
        raised(lambda: ray.JobID.from_int(-1)),
        raised(lambda: ray.ActorID.of(job)),
        len({ray.NodeID.from_random() for _ in range(3)}),
    ]
