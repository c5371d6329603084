# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""Programs made of actors."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import program, raised


@program(expected=40)
def actor_handles_passed_to_tasks(ray: Any) -> Any:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self, n: int) -> int:
            self.n += n
            return self.n

    @ray.remote
    def work(counter: Any) -> None:
        ray.get([counter.add.remote(1) for _ in range(10)])

    counter = Counter.remote()
    ray.get([work.remote(counter) for _ in range(4)])
    return ray.get(counter.add.remote(0))


@program(expected=(["HELLO", "WORLD"], ["hello", "world"]))
def an_actor_that_holds_an_actor(ray: Any) -> Any:
    @ray.remote
    class Log:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def write(self, line: str) -> None:
            self.lines.append(line)

        def read(self) -> list[str]:
            return self.lines

    @ray.remote
    class Shouter:
        def __init__(self, log: Any, *, end: str = "") -> None:
            self.log, self.end = log, end

        def shout(self, line: str) -> str:
            ray.get(self.log.write.remote(line))
            return line.upper() + self.end

    log = Log.remote()
    shouter = Shouter.remote(log, end="")
    return ray.get([shouter.shout.remote(w) for w in ("hello", "world")]), ray.get(
        log.read.remote()
    )


@program(expected=[i * i for i in range(20)])
def actor_pool_by_hand(ray: Any) -> Any:
    @ray.remote
    class Worker:
        def square(self, x: int) -> int:
            return x * x

    idle = [Worker.remote() for _ in range(3)]
    work = list(enumerate(range(20)))
    busy: dict[Any, tuple[int, Any]] = {}
    results: dict[int, int] = {}
    while work or busy:
        while work and idle:
            position, x = work.pop()
            worker = idle.pop()
            busy[worker.square.remote(x)] = (position, worker)
        (ready,), _ = ray.wait(list(busy))
        position, worker = busy.pop(ready)
        results[position] = ray.get(ready)
        idle.append(worker)
    return [results[i] for i in range(20)]


@program(expected=([1, 2, 3], True, "ActorAlreadyExistsError", "ValueError", "ValueError"))
def named_actor(ray: Any) -> Any:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def increment(self) -> int:
            self.n += 1
            return self.n

    @ray.remote
    def from_a_task() -> int:
        return ray.get(ray.get_actor("the one").increment.remote())  # type: ignore[no-any-return]

    first = Counter.options(name="the one").remote()
    counts = [
        ray.get(first.increment.remote()),
        ray.get(ray.get_actor("the one").increment.remote()),
        ray.get(from_a_task.remote()),
    ]
    same = Counter.options(name="the one", get_if_exists=True).remote()
    taken = raised(lambda: Counter.options(name="the one").remote())
    missing = raised(lambda: ray.get_actor("nobody"))
    empty = raised(lambda: Counter.options(name="").remote())
    return counts, ray.get(same.increment.remote()) == 4, taken, missing, empty


@program(expected=([1, 3, 6], "RayTaskError(ValueError)", 6))
def actor_goes_on_after_an_error(ray: Any) -> Any:
    @ray.remote
    class Account:
        def __init__(self, balance: int) -> None:
            self.balance = balance

        def deposit(self, amount: int) -> int:
            if amount < 0:
                raise ValueError(f"cannot deposit {amount}")
            self.balance += amount
            return self.balance

    account = Account.remote(0)
    good = ray.get([account.deposit.remote(n) for n in (1, 2, 3)])
    bad = raised(lambda: ray.get(account.deposit.remote(-1)))
    return good, bad, ray.get(account.deposit.remote(0))


@program(expected=([1, 2], [3], ["a", "b", "c"]))
def methods_with_several_returns(ray: Any) -> Any:
    @ray.remote
    class Splitter:
        @ray.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return 1, 2

        def letters(self) -> list[str]:
            return ["a", "b", "c"]

    splitter = Splitter.remote()
    one, two = splitter.pair.remote()
    three = splitter.letters.options(num_returns=3).remote()
    return ray.get([one, two]), [len(three)], ray.get(three)


@program(expected=["base", "derived", "derived then base", 3])
def actor_of_a_derived_class(ray: Any) -> Any:
    class Base:
        limit = 3

        def who(self) -> str:
            return "base"

        def only_base(self) -> str:
            return "base"

    class Derived(Base):
        def who(self) -> str:
            return "derived"

        def both(self) -> str:
            return f"{self.who()} then {super().who()}"

        def read(self) -> int:
            return self.limit

    actor = ray.remote(Derived).remote()
    calls = [actor.only_base, actor.who, actor.both, actor.read]
    return ray.get([call.remote() for call in calls])


@program(expected=[((i + 1) * 2) ** 2 for i in range(5)])
def pipeline_of_actors(ray: Any) -> Any:
    """The refs of one stage are the arguments of the next; the driver never touches the values."""

    @ray.remote
    class Stage:
        def __init__(self, function: Any) -> None:
            self.function = function

        def run(self, x: int) -> Any:
            return self.function(x)

    stages = [Stage.remote(f) for f in (lambda x: x + 1, lambda x: x * 2, lambda x: x**2)]
    items = list(range(5))
    for stage in stages:
        items = [stage.run.remote(item) for item in items]
    return ray.get(items)


@program(expected=(True, [45.0, 145.0]))
def parameter_server(ray: Any) -> Any:
    @ray.remote
    class Server:
        def __init__(self) -> None:
            self.weights = np.zeros(50_000)

        def push(self, gradient: Any) -> None:
            self.weights = self.weights + gradient

        def pull(self) -> Any:
            return self.weights

    @ray.remote
    def work(server: Any, index: int) -> None:
        weights = ray.get(server.pull.remote())
        ray.get(server.push.remote(np.full_like(weights, float(index))))

    server = Server.remote()
    ray.get([work.remote(server, i) for i in range(10)])
    weights = ray.get(server.pull.remote())
    server.push.remote(np.full(50_000, 100.0))
    return not weights.flags.writeable, [
        float(w[-1]) for w in (weights, ray.get(server.pull.remote()))
    ]


@program(expected=(True, True, True))
def actor_lives_in_a_process_of_its_own(ray: Any) -> Any:
    @ray.remote
    class Who:
        def pid(self) -> int:
            return os.getpid()

        def my_id(self) -> Any:
            return ray.get_runtime_context().get_actor_id()

    one, two = Who.remote(), Who.remote()
    pids = ray.get([one.pid.remote(), two.pid.remote(), one.pid.remote()])
    ids = ray.get([one.my_id.remote(), two.my_id.remote()])
    return pids[0] == pids[2] != os.getpid(), pids[0] != pids[1], ids[0] != ids[1]


@program(expected=("TypeError", "AttributeError", "TypeError"))
def misuse_of_actors(ray: Any) -> Any:
    @ray.remote
    class Plain:
        def __init__(self, n: int) -> None:
            self.n = n

        def read(self) -> int:
            return self.n

    actor = Plain.remote(1)
    return (
        raised(lambda: Plain(1)),
        raised(lambda: actor.no_such_method.remote()),
        raised(lambda: actor.read()),
    )


@program(expected=(2, {"widget": 1.0}))
def actor_resources(ray: Any) -> Any:
    @ray.remote(num_cpus=0.5, resources={"widget": 1})
    class Holder:
        def assigned(self) -> Any:
            resources = ray.get_runtime_context().get_assigned_resources()
            return {name: n for name, n in resources.items() if name == "widget"}

    holders = [Holder.remote() for _ in range(2)]
    answers = ray.get([holder.assigned.remote() for holder in holders])
    return len(answers), answers[0]
