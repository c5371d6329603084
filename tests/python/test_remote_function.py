# SPDX-License-Identifier: Apache-2.0
"""Tasks."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest

import skyray
from skyray.exceptions import GetTimeoutError, RayTaskError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
def echo(*args: Any, **kwargs: Any) -> Any:
    return (args, kwargs) if kwargs else args[0] if len(args) == 1 else args


@skyray.remote
def add(left: int, right: int) -> int:
    return left + right


def test_squares() -> None:
    @skyray.remote
    def square(x: int) -> int:
        return x * x

    assert skyray.get([square.remote(i) for i in range(20)]) == [i * i for i in range(20)]


@pytest.mark.parametrize(
    "value", [None, 1, -(2**70), 1.5, "text", b"bytes", (1, "a"), [1, [2]], {"k": {1}}, True]
)
def test_arguments_and_results_survive(value: Any) -> None:
    again = skyray.get(echo.remote(value))
    assert again == value
    assert type(again) is type(value)


def test_keyword_arguments() -> None:
    assert skyray.get(echo.remote(1, b=2)) == ((1,), {"b": 2})
    assert skyray.get(add.remote(right=1, left=2)) == 3


def test_reference_as_argument_is_resolved() -> None:
    assert skyray.get(add.remote(add.remote(1, 2), skyray.put(3))) == 6
    assert skyray.get(add.remote(left=add.remote(1, 1), right=1)) == 3


def test_reference_inside_an_argument_is_not_resolved() -> None:
    inner = skyray.put("inside")
    [again] = skyray.get(echo.remote([inner]))
    assert again == inner
    assert skyray.get(again) == "inside"


def test_large_array_as_argument_and_result() -> None:
    array = np.arange(1_000_000)
    again = skyray.get(echo.remote(array))
    assert np.array_equal(again, array)
    assert not again.flags.writeable
    shared = skyray.put(array)
    assert np.array_equal(skyray.get(echo.remote(shared)), array)


def test_nested_tasks_and_a_worker_that_waits_gives_its_cpu_back() -> None:
    @skyray.remote
    def fibonacci(n: int) -> int:
        if n < 2:
            return n
        return sum(skyray.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    assert skyray.get(fibonacci.remote(6), timeout=60) == 8


def test_number_of_returns() -> None:
    two = skyray.get(echo.options(num_returns=2).remote(1, 2))
    assert two == [1, 2]
    assert echo.options(num_returns=0).remote(1) is None
    with pytest.raises(ValueError, match=r"3 .*num_returns.*2|num_returns=2"):
        skyray.get(echo.options(num_returns=2).remote([1, 2, 3]))


def test_exception_of_the_task() -> None:
    @skyray.remote
    def fail() -> None:
        raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason") as caught:
        skyray.get(fail.remote())
    error = caught.value
    assert isinstance(error, RayTaskError)
    assert str(error).splitlines()[0].startswith("skyray::fail() (pid=")
    assert 'raise ValueError("the reason")' in str(error)
    assert "_worker_main" not in str(error)


def test_failed_argument_fails_the_task() -> None:
    @skyray.remote
    def divide(x: int) -> float:
        return 1 / x

    with pytest.raises(ZeroDivisionError):
        skyray.get(add.remote(divide.remote(0), 1))


def test_arguments_that_do_not_fit_are_refused_at_the_call() -> None:
    @skyray.remote
    def picky(a: int, /, b: int, *rest: int, key: int, more: int = 0, **others: int) -> Any:
        return a, b, rest, key, more, others

    for arguments, named, said in [
        ((1,), {}, "missing a required argument: 'right'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"wrong": 2}, "missing a required argument: 'right'"),
        ((1, 2), {"right": 2}, "multiple values for argument 'right'"),
        ((1, 2), {"wrong": 2}, "got an unexpected keyword argument 'wrong'"),
    ]:
        with pytest.raises(TypeError, match=said):
            add.remote(*arguments, **named)
    with pytest.raises(TypeError, match=r"missing a required.* 'key'"):
        picky.remote(1, 2)
    assert skyray.get(picky.remote(1, 2, 3, key=4, x=5)) == (1, 2, (3,), 4, 0, {"x": 5})
    assert skyray.get(skyray.remote(max).remote(1, 2)) == 2


def test_get_runs_out_of_time() -> None:
    @skyray.remote
    def wait_for(path: str) -> None:
        while not os.path.exists(path):
            time.sleep(0.01)

    path = os.path.join(os.environ["SKYRAY_TMPDIR"], "go")
    ref = wait_for.remote(path)
    with pytest.raises(GetTimeoutError, match="timed out"):
        skyray.get(ref, timeout=0.05)
    assert skyray.wait([ref], timeout=0) == ([], [ref])
    open(path, "w").close()
    skyray.get(ref, timeout=60)


def test_resources_of_a_task() -> None:
    @skyray.remote(num_cpus=0.5, resources={"special": 1})
    def assigned() -> dict[str, float]:
        return skyray.get_runtime_context().get_assigned_resources()

    assert skyray.get(assigned.remote()) == {"CPU": 0.5, "special": 1.0}


def test_tasks_run_side_by_side_up_to_their_resources() -> None:
    @skyray.remote(resources={"special": 1})
    def meet(folder: str, me: int) -> bool:
        open(os.path.join(folder, f"special-{me}"), "w").close()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if len([n for n in os.listdir(folder) if n.startswith("special-")]) == 2:
                return True
            time.sleep(0.01)
        return False

    folder = os.environ["SKYRAY_TMPDIR"]
    assert skyray.get([meet.remote(folder, 0), meet.remote(folder, 1)]) == [True, True]


def test_worker_that_is_killed_is_named_with_its_signal() -> None:
    @skyray.remote(max_retries=0)
    def die() -> None:
        os.kill(os.getpid(), 11)

    with pytest.raises(WorkerCrashedError, match=r"SIGSEGV|signal 11"):
        skyray.get(die.remote())


def test_task_is_tried_again_after_its_worker_died() -> None:
    @skyray.remote(max_retries=1)
    def die_once(path: str) -> str:
        if not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), 9)
        return "alive"

    path = os.path.join(os.environ["SKYRAY_TMPDIR"], "died")
    assert skyray.get(die_once.remote(path), timeout=60) == "alive"


def test_function_cannot_be_called_directly() -> None:
    with pytest.raises(TypeError, match=r"cannot be called directly.*add\.remote\(\)"):
        add(1, 2)


def test_what_is_remote_already_is_refused() -> None:
    with pytest.raises(TypeError, match="once, not to"):
        skyray.remote(add)
    with pytest.raises(TypeError, match="once, not to"):
        skyray.remote(num_cpus=2)(skyray.remote(type("Remote", (), {})))


def test_parameter_named_self() -> None:
    @skyray.remote
    def given(self: int, other: int) -> int:
        return self - other

    assert skyray.get(given.remote(self=5, other=2), timeout=60) == 3
    assert skyray.get(given._remote(args=(5,), kwargs={"other": 3}), timeout=60) == 2


def test_function_keeps_its_name_and_documentation() -> None:
    @skyray.remote
    def documented() -> None:
        """What it does."""

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "What it does."


def test_code_is_pickled_once_however_often_options_change() -> None:
    pickled = []

    class Counted:
        def __reduce__(self) -> Any:
            pickled.append(1)
            return int, ()

    marker = Counted()

    @skyray.remote
    def use() -> bool:
        return bool(marker)

    assert skyray.get([use.options(num_cpus=0.5).remote() for _ in range(5)]) == [False] * 5
    assert len(pickled) == 1


def test_remote_function_inside_a_remote_function() -> None:
    @skyray.remote
    def outer(x: int) -> int:
        return skyray.get(add.remote(x, 1))

    assert skyray.get(outer.remote(1)) == 2


def test_coroutine_function_is_refused() -> None:
    async def later() -> None: ...

    with pytest.raises(ValueError, match="'async def' should not be used for remote tasks"):
        skyray.remote(later)


def test_decorator_used_in_a_wrong_way() -> None:
    with pytest.raises(AssertionError, match="must be applied either with no arguments"):
        skyray.remote(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="either a function or a class"):
        skyray.remote(num_cpus=1)(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Invalid option keyword cpus"):
        skyray.remote(cpus=1)(lambda: 1)
