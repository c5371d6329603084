# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator, no-any-return"

"""Corners of tasks: what Ray's documents say beyond the main road."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from . import caught, program, raised


@program(
    expected=(
        "RayTaskError(ExceptionGroup)",
        True,
        True,
        "several",
        ["ValueError", "ExceptionGroup"],
        ["ValueError", "ExceptionGroup"],
    )
)
def a_group_of_exceptions(ray: Any) -> Any:
    @ray.remote
    def fails() -> None:
        group: Any = __builtins__["ExceptionGroup"] if isinstance(__builtins__, dict) else None
        if group is None:
            group = __builtins__.ExceptionGroup
        raise group("several", [ValueError("a"), group("inner", [KeyError("b")])])

    try:
        ray.get(fails.remote())
    except Exception as error:
        cause: Any = error.cause
        return (
            type(error).__name__,
            isinstance(error, ray.exceptions.RayTaskError),
            isinstance(error, type(cause)),
            cause.message,
            [type(one).__name__ for one in cause.exceptions],
            [type(one).__name__ for one in error.exceptions],
        )


@program(expected=(6, [3, 3], 3, ["ValueError"] * 4, ["RayActorError"] * 2))
def a_reference_that_is_given_twice_before_it_is_ready(ray: Any) -> Any:
    @ray.remote
    def after(reader: Any) -> int:
        return 3 if ray.get(reader.read.remote()) else 0

    @ray.remote
    def fails_after(reader: Any) -> None:
        ray.get(reader.read.remote())
        raise ValueError("the cause")

    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    @ray.remote
    class Gate:
        def __init__(self) -> None:
            self.opened = asyncio.Event()

        async def read(self) -> bool:
            await self.opened.wait()
            return True

        async def open(self) -> None:
            self.opened.set()

    @ray.remote
    class Takes:
        def __init__(self, value: int = 0) -> None:
            self.value = value

        def take(self, a: int, b: int = 0) -> int:
            return max(a, b)

    def failure(ref: Any) -> str:
        error = caught(lambda: ray.get(ref))
        cause = getattr(error, "cause", None)
        if cause is None:
            return (
                "RayActorError" if isinstance(error, ray.exceptions.RayActorError) else repr(error)
            )
        return type(cause).__name__

    gate = Gate.remote()
    actor = Takes.remote()
    value = after.options(num_cpus=0).remote(gate)
    both = add.remote(value, value)
    taken = [actor.take.remote(value, value) for _ in range(2)]
    built = Takes.remote(value).take.remote(value, value)
    failed = fails_after.options(num_cpus=0).remote(gate)
    failures = [add.remote(failed, failed), *(actor.take.remote(failed, failed) for _ in range(3))]
    unbuilt = Takes.remote(failed)
    unborn = [unbuilt.take.remote(failed) for _ in range(2)]
    ray.get(gate.open.remote())
    return (
        ray.get(both),
        ray.get(taken),
        ray.get(built),
        [failure(ref) for ref in failures],
        [failure(ref) for ref in unborn],
    )


@program(expected=(1, 2, 2))
def an_error_in_del_fails_nothing(ray: Any) -> Any:
    class Loud:
        def __del__(self) -> None:
            raise RuntimeError("in __del__")

    @ray.remote
    def makes() -> int:
        Loud()
        return 1

    @ray.remote
    class Holds:
        def __init__(self) -> None:
            self.loud: Any = Loud()

        def drop(self) -> int:
            self.loud = None
            return 2

        def __del__(self) -> None:
            raise RuntimeError("the actor's own")

    holder = Holds.remote()
    return ray.get(makes.remote()), ray.get(holder.drop.remote()), ray.get(holder.drop.remote())


@program(
    expected=[
        ("nothing", 3),
        ("nothing", 3),
        ("RayTaskError(KeyError)", 1),
        ("nothing", 3),
        ("RayTaskError(ValueError)", 2),
        ("RayTaskError(ValueError)", 1),
        ("nothing", 3),
        ("RayTaskError(ValueError)", 1),
        ("RayTaskError(ValueError)", 1),
    ]
)
def only_the_listed_exceptions_are_tried_again(ray: Any) -> Any:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

        def read(self) -> int:
            return self.n

    class Mine(ValueError):
        pass

    def outcome(error: type[Exception], **options: Any) -> Any:
        counter = Counter.remote()

        @ray.remote(**options)
        def flaky() -> int:
            n = ray.get(counter.add.remote())
            if n < 3:
                raise error("again")
            return n

        return raised(lambda: ray.get(flaky.remote())), ray.get(counter.read.remote())

    return [
        outcome(ValueError, max_retries=5, retry_exceptions=[ValueError]),
        outcome(Mine, max_retries=5, retry_exceptions=[ValueError]),
        outcome(KeyError, max_retries=5, retry_exceptions=[ValueError]),
        outcome(KeyError, max_retries=5, retry_exceptions=[ValueError, KeyError]),
        outcome(ValueError, max_retries=1, retry_exceptions=[ValueError]),
        outcome(ValueError, max_retries=0, retry_exceptions=True),
        outcome(ValueError, max_retries=5, retry_exceptions=True),
        outcome(ValueError, max_retries=5, retry_exceptions=False),
        outcome(ValueError, max_retries=5),
    ]


@program(
    expected=[
        [1, 2],
        (1, 2),
        None,
        "RayTaskError(ValueError)",
        [1, 2],
        "ValueError",
        "ValueError",
        "ValueError",
        "ValueError",
        "TypeError",
        "ValueError",
    ]
)
def options_one_after_the_other(ray: Any) -> Any:
    @ray.remote(num_cpus=1, num_returns=2)
    def pair() -> Any:
        return 1, 2

    one = pair.options(num_returns=1)
    none = pair.options(num_returns=0, num_cpus=0)
    three = pair.options(num_returns=3, name="three")
    return [
        ray.get(pair.remote()),
        ray.get(one.remote()),
        none.remote(),
        raised(lambda: ray.get(three.remote())),
        ray.get(pair.remote()),
        raised(lambda: pair.options(max_calls=1)),
        raised(lambda: pair.options(nonsense=1)),
        raised(lambda: pair.options(num_returns=-1)),
        raised(lambda: pair.options(max_restarts=1)),
        raised(lambda: ray.remote(num_cpus="1")(lambda: 1)),
        raised(lambda: ray.remote(lambda: 1).options(num_cpus=-1)),
    ]


@program(
    expected=[
        (1, 2),
        (1, 1),
        "TypeError",
        "TypeError",
        "TypeError",
        (1, 5, (), 6, []),
        (1, 1, (1, 4), 1, [("d", 1), ("e", 5)]),
        "TypeError",
        "TypeError",
        (1, 1, 1),
        "TypeError",
        True,
        True,
    ]
)
def ways_to_pass_arguments(ray: Any) -> Any:
    @ray.remote
    def keywords(*, a: int, b: int = 2) -> Any:
        return a, b

    @ray.remote
    def many(a: int, b: int = 5, *rest: int, c: int = 6, **others: int) -> Any:
        return a, b, rest, c, sorted(others.items())

    @ray.remote
    def positional(a: int, b: int = 3, /, c: int = 4) -> Any:
        return a, b, c

    @ray.remote
    def changes(a: list[int] = []) -> list[int]:  # noqa: B006
        a.append(1)
        return a

    one = ray.put(1)
    return [
        ray.get(keywords.remote(a=one)),
        ray.get(keywords.remote(a=1, b=one)),
        raised(lambda: keywords.remote(1)),
        raised(lambda: keywords.remote()),
        raised(lambda: keywords.remote(a=1, z=1)),
        ray.get(many.remote(one)),
        ray.get(many.remote(1, one, one, 4, c=one, d=one, e=5)),
        raised(lambda: many.remote()),
        raised(lambda: many.remote(1, a=1)),
        ray.get(positional.remote(one, one, one)),
        raised(lambda: positional.remote(a=1)),
        ray.get(many.remote(*[one] * 300))[2] == (1,) * 298,
        len(ray.get(changes.remote())) >= 1,
    ]


@program(expected=(3628800, False))
def recursion(ray: Any) -> Any:
    @ray.remote
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * ray.get(factorial.remote(n - 1))

    @ray.remote
    def even(n: int) -> bool:
        return True if n == 0 else ray.get(odd.remote(n - 1))

    @ray.remote
    def odd(n: int) -> bool:
        return False if n == 0 else ray.get(even.remote(n - 1))

    return ray.get(factorial.remote(10)), ray.get(even.remote(5))


@program(expected=(124999750001, 124999750001, [0, 1, 2]))
def closures(ray: Any) -> Any:
    table = np.arange(500_000)
    box = [1]

    @ray.remote
    def total() -> int:
        return int(table.sum()) + box[0]

    first = ray.get(total.remote())
    box[0] = 100  # The function was pickled at its first call.
    makers = [ray.remote(lambda i=i: i) for i in range(3)]
    return first, ray.get(total.remote()), ray.get([make.remote() for make in makers])


@program(
    expected=([1, "TaskCancelledError", True, "ValueError", "nothing", "TypeError", "TypeError"], 3)
)
def what_can_be_cancelled(ray: Any) -> Any:
    @ray.remote
    def quick() -> int:
        return 1

    @ray.remote(resources={"widget": 2})
    def holds(signal: Any) -> int:
        return ray.get(signal[0])

    @ray.remote
    class Gate:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> int:
            await self.event.wait()
            return 3

        async def open(self) -> None:
            self.event.set()

        async def sleep(self) -> None:
            await asyncio.sleep(1000)

    cancelled = ray.exceptions.TaskCancelledError
    done = quick.remote()
    ray.get(done)
    ray.cancel(done)
    gate = Gate.remote()
    passed = gate.wait.remote()
    running = holds.remote([passed])
    queued = holds.remote([passed])
    ray.cancel(queued)
    sleeping = gate.sleep.remote()
    ray.get(gate.__ray_ready__.remote())
    ray.cancel(sleeping)
    found = [
        ray.get(done),
        raised(lambda: ray.get(queued, timeout=30)),
        isinstance(caught(lambda: ray.get(sleeping, timeout=30)), cancelled),
        raised(lambda: ray.cancel(gate.wait.remote(), force=True)),
        raised(lambda: ray.cancel(ray.put(1))),
        raised(lambda: ray.cancel(1)),
        raised(lambda: ray.cancel(gate)),
    ]
    gate.open.remote()
    return found, ray.get(running, timeout=30)


@program(expected=([True, True], [True, False]))
def cancelling_a_tree(ray: Any) -> Any:
    @ray.remote(num_cpus=0)
    def leaf() -> None:
        import time

        while True:
            time.sleep(0.01)

    @ray.remote(num_cpus=0)
    class Notes:
        def __init__(self) -> None:
            self.refs: list[Any] = []

        def note(self, refs: list[Any]) -> None:
            self.refs += refs

        def read(self) -> list[Any]:
            return self.refs

    @ray.remote(num_cpus=0)
    def root(notes: Any) -> None:
        child = leaf.remote()
        ray.get(notes.note.remote([child]))
        ray.get(child)

    def outcome(recursive: bool) -> Any:
        notes = Notes.remote()
        top = root.remote(notes)
        children: list[Any] = []
        while not children:
            children = ray.get(notes.read.remote())
        ray.cancel(top, recursive=recursive)
        ends = [caught(lambda: ray.get(top, timeout=60))]
        if recursive:
            ends.append(caught(lambda: ray.get(children[0], timeout=60)))
        else:
            ends.append(caught(lambda: ray.get(children[0], timeout=0)))
            ray.cancel(children[0])
        return [isinstance(end, ray.exceptions.TaskCancelledError) for end in ends]

    return outcome(True), outcome(False)


@program(
    expected=[
        ("names", "names", True),
        ("given", "names", True),
        "<lambda>",
        ("Actor.names", ["Actor", "names"]),
        ("given", ["Actor", "names"]),
        ["Actor", "later"],
    ]
)
def names_of_what_runs(ray: Any) -> Any:
    @ray.remote
    def names() -> Any:
        context = ray.get_runtime_context()
        function = context.get_task_function_name()
        return context.get_task_name(), function.rpartition(".")[2], function.count(".") > 0

    @ray.remote
    class Actor:
        def names(self) -> Any:
            context = ray.get_runtime_context()
            function = context.get_task_function_name().split(".")
            return context.get_task_name(), function[-2:]

        async def later(self) -> Any:
            context = ray.get_runtime_context()
            return context.get_task_function_name().split(".")[-2:]

    actor = Actor.remote()
    return [
        ray.get(names.remote()),
        ray.get(names.options(name="given").remote()),
        ray.get(ray.remote(lambda: ray.get_runtime_context().get_task_function_name()).remote())[
            -8:
        ],
        ray.get(actor.names.remote()),
        ray.get(actor.names.options(name="given").remote()),
        ray.get(actor.later.remote()),
    ]
