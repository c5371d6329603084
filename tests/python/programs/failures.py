# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""Programs in which something goes wrong, and what their user sees of it."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

from . import program, raised


@program(expected=("RayTaskError(Refused)", 42, "Refused", True, True))
def the_users_exception_arrives_as_itself(ray: Any) -> Any:
    class Refused(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(code)
            self.code = code

    @ray.remote
    def refuse() -> None:
        raise Refused(42)

    try:
        ray.get(refuse.remote())
    except Refused as error:
        is_task_error = isinstance(error, ray.exceptions.RayTaskError)
        shows_the_line = "raise Refused(42)" in str(error)
        cause = type(error.cause).__name__
        return type(error).__name__, error.code, cause, is_task_error, shows_the_line
    return "nothing"


@program(expected=["RayTaskError(KeyError)"] * 3)
def an_error_travels_through_dependent_tasks(ray: Any) -> Any:
    @ray.remote
    def fail() -> None:
        raise KeyError("missing")

    @ray.remote
    def use(x: Any) -> Any:
        return x

    @ray.remote
    def nested() -> Any:
        return ray.get(fail.remote())

    failed = fail.remote()
    return [raised(lambda ref=ref: ray.get(ref)) for ref in (  # type: ignore[misc]
        use.remote(failed), use.remote(use.remote(failed)), nested.remote())]  # fmt: skip


@program(
    expected=(["RayTaskError(ZeroDivisionError)"] * 2, "RayTaskError(ZeroDivisionError)", [1, 3])
)
def one_error_among_several_results(ray: Any) -> Any:
    @ray.remote(num_returns=2)
    def two(x: int) -> tuple[int, int]:
        return 1, 1 // x

    @ray.remote
    def inverse(x: int) -> int:
        return 3 // x

    both = [raised(lambda ref=ref: ray.get(ref)) for ref in two.remote(0)]  # type: ignore[misc]
    refs = [inverse.remote(x) for x in (3, 0, 1)]
    ready, _ = ray.wait(refs, num_returns=3)  # An error counts as ready.
    assert len(ready) == 3
    return both, raised(lambda: ray.get(refs)), ray.get([refs[0], refs[2]])


@program(expected=("RayTaskError", "RayTaskError(ValueError)"))
def exceptions_that_cannot_travel(ray: Any) -> Any:
    @ray.remote
    def unpicklable() -> None:
        error = RuntimeError("has a lock")
        error.lock = threading.Lock()
        raise error

    @ray.remote
    def wrong_number_of_returns() -> list[int]:
        return [1]

    refs = wrong_number_of_returns.options(num_returns=2).remote()
    return raised(lambda: ray.get(unpicklable.remote())), raised(lambda: ray.get(refs))


@program(expected=("GetTimeoutError", True, "done"))
def get_with_a_timeout(ray: Any) -> Any:
    @ray.remote(num_cpus=0)
    def read(path: str) -> str:
        return Path(path).read_text()

    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder, "pipe")
        os.mkfifo(pipe)
        ref = read.remote(str(pipe))  # Nobody writes yet, so it cannot be done.
        try:
            ray.get(ref, timeout=0.01)
            seen, is_builtin = "nothing", False
        except ray.exceptions.GetTimeoutError as error:
            seen, is_builtin = type(error).__name__, isinstance(error, TimeoutError)
        pipe.write_text("done")
        return seen, is_builtin, ray.get(ref)


@program(expected=("WorkerCrashedError", "WorkerCrashedError", 5))
def a_worker_that_dies(ray: Any) -> Any:
    @ray.remote(max_retries=0)
    def killed() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @ray.remote(max_retries=0)
    def left() -> None:
        os._exit(3)

    alive = ray.remote(lambda: 5)
    return (
        raised(lambda: ray.get(killed.remote())),
        raised(lambda: ray.get(left.remote())),
        ray.get(alive.remote()),
    )


@program(expected=["ActorDiedError", "ActorDiedError", True])
def an_actor_that_dies(ray: Any) -> Any:
    @ray.remote
    class Fragile:
        def crash(self) -> None:
            os._exit(1)

        def hello(self) -> str:
            return "hello"

    actor = Fragile.remote()
    ray.get(actor.hello.remote())
    first = raised(lambda: ray.get(actor.crash.remote()))
    second = raised(lambda: ray.get(actor.hello.remote()))
    tree = issubclass(ray.exceptions.ActorDiedError, ray.exceptions.RayActorError)
    return [first, second, tree]


@program(expected=("ActorDiedError", "ValueError"))
def a_killed_actor(ray: Any) -> Any:
    @ray.remote
    class Victim:
        def hello(self) -> str:
            return "hello"

    victim = Victim.options(name="victim").remote()
    ray.get(victim.hello.remote())
    ray.kill(victim)
    dead = raised(lambda: ray.get(victim.hello.remote()))
    return dead, raised(lambda: ray.get_actor("victim"))


@program(expected=("ActorDiedError", True))
def a_constructor_that_fails(ray: Any) -> Any:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("no luck today")

        def hello(self) -> str:
            return "hello"

    actor = Broken.remote()
    try:
        ray.get(actor.hello.remote())
    except ray.exceptions.RayActorError as error:
        return type(error).__name__, "no luck today" in str(error)
    return "nothing"


@program(expected=("TypeError", True))
def an_unpicklable_argument(ray: Any) -> Any:
    identity = ray.remote(lambda x: x)
    lock = threading.Lock()
    try:
        identity.remote({"inner": [lock]})
    except TypeError as error:
        return type(error).__name__, "lock" in str(error)
    return "nothing"


@program(expected=["TypeError", "ValueError", "TypeError", "ValueError", True])
def misuse_of_functions(ray: Any) -> Any:
    @ray.remote
    def f(x: int) -> int:
        return x

    def fits_no_signature() -> bool:
        """Whether it is the call or the get that raises is the system's choice."""
        try:
            ray.get(f.remote())
        except TypeError:
            return True
        return False

    return [
        raised(lambda: f(1)),
        raised(lambda: f.options(num_cpus=-1).remote(1)),
        raised(lambda: f.options(num_cpus="many").remote(1)),
        raised(lambda: f.options(no_such_option=1).remote(1)),
        fits_no_signature(),
    ]
