# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator, no-any-return"
# ruff: noqa: UP028  (Ray cannot run `yield from`.)
"""Corners of actors: what Ray's documents say beyond the main road."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from . import program, raised


@program(
    expected=[
        "derived, base",
        2,
        "Derived",
        "base",
        "AttributeError",
        "AttributeError",
        "AttributeError",
        "TypeError",
        "TypeError",
        10,
        7,
    ]
)
def classes_above_an_actor(ray: Any) -> Any:
    class Base:
        kind = "base"

        def __init__(self, x: int = 1) -> None:
            self.x = x

        def who(self) -> str:
            return "base"

        def call(self) -> str:
            return self.who()

        @staticmethod
        def static(x: int) -> int:
            return x + 1

        @classmethod
        def cls_name(cls) -> str:
            return cls.__name__

        @property
        def prop(self) -> int:
            return self.x

    class Derived(Base):
        def __init__(self) -> None:
            super().__init__(5)

        def who(self) -> str:
            return "derived, " + super().who()

    actor = ray.remote(Derived).remote()
    plain = ray.remote(Base).remote(x=7)
    return [
        ray.get(actor.call.remote()),
        ray.get(actor.static.remote(1)),
        ray.get(actor.cls_name.remote()),
        ray.get(plain.call.remote()),
        raised(lambda: actor.prop),
        raised(lambda: actor.kind),
        raised(lambda: actor.nothing),
        raised(lambda: actor.who()),
        raised(lambda: ray.remote(Base)()),
        ray.get(plain.__ray_call__.remote(lambda self, y: self.x + y, 3)),
        ray.get(plain.__ray_call__.remote(lambda self: self.prop)),
    ]


@program(expected=("ActorClassInheritanceException", True))
def actor_classes_cannot_be_derived_from(ray: Any) -> Any:
    @ray.remote
    class Base:
        def who(self) -> str:
            return "base"

    def derive() -> None:
        class Derived(Base):
            pass

    plain = Base.__ray_actor_class__ if hasattr(Base, "__ray_actor_class__") else None
    return raised(derive), plain is not None


@program(
    expected=[
        [1, 2],
        (1, 2),
        None,
        [1, 2, 3],
        [1, 2, 3],
        [1],
        [0, 1],
        [0, 1],
        "TypeError",
        "ValueError",
        "AssertionError",
        "nothing",
        "nothing",
    ]
)
def options_of_methods(ray: Any) -> Any:
    @ray.remote
    class Actor:
        @ray.method(num_returns=2)
        def pair(self) -> Any:
            return 1, 2

        def plain(self) -> Any:
            return [1, 2, 3]

        def items(self, n: int) -> Any:
            for i in range(n):
                yield i

        @ray.method(num_returns=1)
        def listed(self) -> Any:
            return [1]

    actor = Actor.remote()
    three = actor.plain.options(num_returns=3)
    return [
        ray.get(actor.pair.remote()),
        ray.get(actor.pair.options(num_returns=1).remote()),
        actor.pair.options(num_returns=0).remote(),
        ray.get(three.remote()),
        ray.get(actor.plain.options(name="x").remote()),
        ray.get(actor.listed.remote()),
        [ray.get(ref) for ref in actor.items.remote(2)],
        ray.get(actor.items.options(num_returns=2).remote(2)),
        raised(lambda: actor.plain.options(num_cpus=1).remote()),
        raised(lambda: actor.plain.options(num_returns=-1).remote()),
        raised(lambda: ray.method(num_cpus=1)),
        raised(lambda: ray.method()),
        raised(lambda: ray.method(lambda: 1)),
    ]


@program(
    expected=[
        (1, (2, 1), 1, [("z", 1)]),
        (1, (), 3, []),
        "TypeError",
        "TypeError",
        "TypeError",
        (1, 2),
        "TypeError",
        "TypeError",
        "TypeError",
        1,
    ]
)
def arguments_of_constructors(ray: Any) -> Any:
    @ray.remote
    class Actor:
        def __init__(self, a: int, *rest: int, k: int = 3, **others: int) -> None:
            self.got = (a, rest, k, sorted(others.items()))

        def read(self) -> Any:
            return self.got

        def only_keywords(self, *, x: int, y: int = 2) -> Any:
            return x, y

    @ray.remote
    class Bare:
        def ping(self) -> int:
            return 1

    one = ray.put(1)
    actor = Actor.remote(one, 2, one, k=one, z=one)
    return [
        ray.get(actor.read.remote()),
        ray.get(Actor.remote(1).read.remote()),
        raised(lambda: Actor.remote()),
        raised(lambda: Bare.remote(1)),
        raised(lambda: Bare.remote(x=1)),
        ray.get(actor.only_keywords.remote(x=one)),
        raised(lambda: actor.only_keywords.remote(1)),
        raised(lambda: actor.read.remote(1)),
        raised(lambda: actor.read.remote(nope=1)),
        ray.get(Bare.remote().ping.remote()),
    ]


@program(
    expected=[
        True,
        True,
        False,
        "ValueError",
        "ValueError",
        "ValueError",
        "ActorAlreadyExistsError",
        "ActorAlreadyExistsError",
        "TypeError",
        "ValueError",
        "ValueError",
        "ValueError",
        "ValueError",
        True,
        True,
    ]
)
def names_and_namespaces(ray: Any) -> Any:
    @ray.remote
    class Actor:
        def ping(self) -> int:
            return 1

    here = Actor.options(name="corner").remote()
    there = Actor.options(name="corner", namespace="elsewhere").remote()
    ray.get([here.ping.remote(), there.ping.remote()])
    found = [
        ray.get_actor("corner") == here,
        ray.get_actor("corner", "elsewhere") == there,
        ray.get_actor("corner", namespace="elsewhere") == here,
        raised(lambda: ray.get_actor("corner", "nowhere")),
        raised(lambda: ray.get_actor("")),
        raised(lambda: ray.get_actor(None)),
        raised(lambda: Actor.options(name="corner").remote()),
        raised(lambda: Actor.options(name="corner", namespace="elsewhere").remote()),
        raised(lambda: Actor.options(name=3).remote()),
        raised(lambda: Actor.options(namespace="").remote()),
        raised(lambda: Actor.options(name="").remote()),
        raised(lambda: Actor.options(lifetime="forever").remote()),
        raised(lambda: Actor.options(get_if_exists=True).remote()),
        Actor.options(name="corner", get_if_exists=True).remote() == here,
        ray.get(ray.remote(lambda: ray.get_actor("corner").ping.remote()).remote()) is not None,
    ]
    ray.kill(there)
    ray.kill(here)
    return found


@program(expected=3)
def a_name_is_free_once_its_actor_is_dead(ray: Any) -> Any:
    @ray.remote
    class Actor:
        def pid(self) -> int:
            import os

            return os.getpid()

    pids = set()
    for _ in range(3):
        actor = Actor.options(name="again and again").remote()
        pids.add(ray.get(actor.pid.remote()))
        ray.kill(actor)
        missing = ""
        while missing != "ValueError":
            missing = raised(lambda: ray.get_actor("again and again"))
    return len(pids)


@program(expected=([1, 2, 3, 2], "ActorDiedError"))
def detached_actors(ray: Any) -> Any:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

    @ray.remote
    def makes() -> int:
        actor = Actor.options(name="stays", lifetime="detached").remote()
        return ray.get(actor.add.remote())

    @ray.remote
    def makes_unnamed() -> Any:
        actor = Actor.options(lifetime="detached").remote()
        ray.get(actor.add.remote())
        return actor

    first = ray.get(makes.remote())
    again = ray.get(ray.get_actor("stays").add.remote())
    same = Actor.options(name="stays", get_if_exists=True, lifetime="detached").remote()
    unnamed = ray.get(makes_unnamed.remote())
    found = [first, again, ray.get(same.add.remote()), ray.get(unnamed.add.remote())]
    ray.kill(same)
    ray.kill(unnamed)
    return found, raised(lambda: ray.get(same.add.remote()))


@program(
    expected=(
        [
            ("ActorDiedError", "ActorDiedError"),
            ("ActorDiedError", "ActorDiedError"),
            ("ActorDiedError", "ActorDiedError"),
            ("ActorDiedError", "ActorDiedError"),
            "ActorDiedError",
            "RayTaskError(TypeError)",
            "TypeError",
        ],
        "ActorDiedError",
    )
)
def actors_that_exit(ray: Any) -> Any:
    @ray.remote
    class Plain:
        def ping(self) -> int:
            return 1

        def leave(self) -> None:
            ray.actor.exit_actor()

        def swallow(self) -> None:
            try:
                ray.actor.exit_actor()
            except Exception:
                pass

    @ray.remote
    class Async:
        async def ping(self) -> int:
            return 1

        async def leave(self) -> None:
            ray.actor.exit_actor()

    @ray.remote(max_concurrency=3)
    class Threaded:
        def ping(self) -> int:
            return 1

        def leave(self) -> None:
            ray.actor.exit_actor()

    @ray.remote
    class InInit:
        def __init__(self) -> None:
            ray.actor.exit_actor()

        def ping(self) -> int:
            return 1

    @ray.remote(max_restarts=-1, max_task_retries=-1)
    class Restartable:
        def ping(self) -> int:
            return 1

        def leave(self) -> None:
            ray.actor.exit_actor()

    @ray.remote
    def outside() -> None:
        ray.actor.exit_actor()

    def leaves(actor: Any) -> Any:
        ray.get(actor.ping.remote())
        left = raised(lambda: ray.get(actor.leave.remote(), timeout=60))
        return left, raised(lambda: ray.get(actor.ping.remote(), timeout=60))

    classes: list[Any] = [Plain, Async, Threaded, Restartable]
    found = [leaves(cls.remote()) for cls in classes]
    broken = InInit.remote()
    found.append(raised(lambda: ray.get(broken.ping.remote(), timeout=60)))
    found.append(raised(lambda: ray.get(outside.remote())))
    found.append(raised(lambda: ray.actor.exit_actor()))
    terminated = Plain.remote()
    ray.get(terminated.ping.remote())
    terminated.__ray_terminate__.remote()
    end = ""
    while end in ("", "nothing"):
        end = raised(lambda: ray.get(terminated.ping.remote(), timeout=60))
    return found, end


@program(expected=(["PendingCallsLimitExceeded", "PendingCallsLimitExceeded", "[1, 1]"], "nothing"))
def pending_calls_are_bounded(ray: Any) -> Any:
    @ray.remote(max_pending_calls=2)
    class Actor:
        def wait(self, refs: list[Any]) -> int:
            return ray.get(refs[0])

    @ray.remote
    class Gate:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> int:
            await self.event.wait()
            return 1

        async def open(self) -> None:
            self.event.set()

    gate = Gate.remote()
    passed = gate.wait.remote()
    actor = Actor.remote()
    calls = [actor.wait.remote([passed]) for _ in range(2)]
    found = [raised(lambda: actor.wait.remote([passed])) for _ in range(2)]
    ray.get(gate.open.remote())
    found.append(str(ray.get(calls)))
    return found, raised(lambda: Actor.options(max_pending_calls=0).remote())


@program(expected=[1, 2, 3, 1, 4, 5])
def handles_in_containers(ray: Any) -> Any:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

    @ray.remote
    def uses(handles: dict[str, Any]) -> int:
        return ray.get(handles["list"][0].add.remote())

    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.kept: Any = None

        def keep(self, handles: list[Any]) -> None:
            self.kept = handles[0]

        def use(self) -> int:
            return ray.get(self.kept.add.remote())

        def give(self) -> Any:
            return (self.kept,)

    counter, keeper = Counter.remote(), Keeper.remote()
    found = [
        ray.get(uses.remote({"list": [counter]})),
        ray.get(ray.get(ray.put(counter)).add.remote()),
    ]
    ray.get(keeper.keep.remote([counter]))
    same = {counter, ray.get(ray.put([counter]))[0]}
    del counter
    found += [ray.get(keeper.use.remote()), len(same)]
    same.clear()
    found.append(ray.get(keeper.use.remote()))
    (again,) = ray.get(keeper.give.remote())
    found.append(ray.get(again.add.remote()))
    return found


@program(expected=(True, 1, 2))
def handles_of_oneself(ray: Any) -> Any:
    @ray.remote
    class Actor:
        def me(self) -> Any:
            return ray.get_runtime_context().current_actor

        def ping(self) -> int:
            return 1

        async def aping(self) -> int:
            return 2

    actor = Actor.remote()
    me = ray.get(actor.me.remote())
    return me == actor, ray.get(me.ping.remote()), ray.get(me.aping.remote())


@program(expected=[[1, 1, 1, 1], [2, 2, 3], [2, 3, 3]])
def threads_of_an_actor(ray: Any) -> Any:
    @ray.remote(max_concurrency=2)
    class Meets:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(2)

        def meet(self) -> int:
            self.barrier.wait(30)
            return 1

    @ray.remote(concurrency_groups={"io": 2})
    class Grouped:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(3)

        @ray.method(concurrency_group="io")
        def meet(self) -> int:
            self.barrier.wait(30)
            return 2

        def meet_too(self) -> int:
            self.barrier.wait(30)
            return 3

    meets, grouped = Meets.remote(), Grouped.remote()
    return [
        ray.get([meets.meet.remote() for _ in range(4)]),
        ray.get([grouped.meet.remote(), grouped.meet.remote(), grouped.meet_too.remote()]),
        ray.get(
            [
                grouped.meet.remote(),
                grouped.meet_too.remote(),
                grouped.meet_too.options(concurrency_group="io").remote(),
            ]
        ),
    ]


@program(
    expected=[
        [3, 3, 3],
        4,
        [0, 1, 2],
        "RayTaskError(ValueError)",
        9,
        "RayTaskError(TaskCancelledError)",
    ]
)
def async_actors(ray: Any) -> Any:
    @ray.remote
    class Async:
        def __init__(self) -> None:
            self.event = asyncio.Event()
            self.n = 0

        async def wait(self) -> int:
            self.n += 1
            await self.event.wait()
            return self.n

        async def open(self) -> None:
            while self.n < 3:
                await asyncio.sleep(0)
            self.event.set()

        async def awaits(self, refs: list[Any]) -> int:
            return await refs[0] + sum(await asyncio.gather(*refs))

        async def items(self, n: int) -> Any:
            for i in range(n):
                yield i

        async def fails(self) -> None:
            raise ValueError("x")

        def plain(self) -> int:
            return 9

        async def cancelled(self) -> None:
            raise asyncio.CancelledError

    actor = Async.remote()
    waits = [actor.wait.remote() for _ in range(3)]
    actor.open.remote()
    return [
        ray.get(waits),
        ray.get(actor.awaits.remote([ray.put(1), ray.put(2)])),
        [ray.get(ref) for ref in actor.items.remote(3)],
        raised(lambda: ray.get(actor.fails.remote())),
        ray.get(actor.plain.remote()),
        raised(lambda: ray.get(actor.cancelled.remote(), timeout=30)),
    ]


@program(
    expected=[
        (True, False, False, True, "RayTaskError(ValueError)"),
        (False, True, False, True, "RayTaskError(ValueError)"),
        (False, False, True, True, "ActorDiedError"),
    ]
)
def an_error_tells_of_its_actor(ray: Any) -> Any:
    @ray.remote
    class Named:
        def __repr__(self) -> str:
            return "the one"

        def fail(self) -> None:
            raise ValueError("x")

    @ray.remote
    class Plain:
        def fail(self) -> None:
            raise ValueError("x")

    @ray.remote
    class Dies:
        def __init__(self) -> None:
            raise ValueError("in init")

        def __repr__(self) -> str:
            return "never there"

        def ping(self) -> None:
            pass

    found = []
    calls: list[Any] = [(Named, "fail"), (Plain, "fail"), (Dies, "ping")]
    for cls, method in calls:
        actor = cls.remote()
        try:
            ray.get(getattr(actor, method).remote())
        except Exception as error:
            text = str(error)
            found.append(
                (
                    "repr=the one)" in text,
                    "Plain object at 0x" in text,
                    "repr=never there)" in text,
                    f"actor_id={actor._actor_id.hex()}" in text,
                    type(error).__name__,
                )
            )
    return found


@program(expected=[1, False, 1, True, "ActorDiedError", "ActorDiedError"])
def restarted_actors(ray: Any) -> Any:
    @ray.remote(max_restarts=1, max_task_retries=1)
    class Actor:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

        def was_restarted(self) -> bool:
            return ray.get_runtime_context().was_current_actor_reconstructed

        def die(self) -> None:
            import os

            os._exit(1)

    actor = Actor.remote()
    found = [ray.get(actor.add.remote()), ray.get(actor.was_restarted.remote())]
    ray.kill(actor, no_restart=False)
    found += [ray.get(actor.add.remote()), ray.get(actor.was_restarted.remote())]
    found.append(raised(lambda: ray.get(actor.die.remote(), timeout=60)))
    found.append(raised(lambda: ray.get(actor.add.remote(), timeout=60)))
    return found
