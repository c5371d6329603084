# SPDX-License-Identifier: Apache-2.0
"""Calls that raise and are made again, and workers that leave after so many calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import ended

import skyray
from skyray.exceptions import RayTaskError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("runtime")


class Hiccup(Exception):
    """Known to this module alone."""


class WorseHiccup(Hiccup): ...


def attempt(log: str, failures: int, error: Exception) -> int:
    """Fails the first so many times that it is called; then the number of calls."""
    with open(log, "a") as file:
        file.write("x")
    calls = len(Path(log).read_text())
    if calls <= failures:
        raise error
    return calls


@skyray.remote
def task(log: str, failures: int, error: Exception) -> int:
    return attempt(log, failures, error)


@skyray.remote
class Tries:
    def call(self, log: str, failures: int, error: Exception) -> int:
        return attempt(log, failures, error)

    @skyray.method(retry_exceptions=[Hiccup], max_task_retries=1)
    def set_for(self, log: str, failures: int, error: Exception) -> int:
        return attempt(log, failures, error)

    def which(self) -> int:
        return os.getpid()


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> str:
    return str(tmp_path / "log")


def calls(log: str) -> int:
    return len(Path(log).read_text())


def test_tasks_that_raise_are_not_made_again_unasked(log: str) -> None:
    with pytest.raises(ValueError, match="once"):
        skyray.get(task.remote(log, 1, ValueError("once")))
    assert calls(log) == 1


def test_all_exceptions(log: str) -> None:
    retrying = task.options(retry_exceptions=True)
    assert skyray.get(retrying.remote(log, 3, ArithmeticError())) == 4
    with pytest.raises(ValueError, match="too often") as caught:
        skyray.get(retrying.remote(log + "2", 4, ValueError("too often")))
    assert isinstance(caught.value, RayTaskError)
    assert calls(log + "2") == 4


def test_some_exceptions_and_what_derives_from_them(log: str) -> None:
    retrying = task.options(retry_exceptions=[Hiccup, KeyError])
    assert skyray.get(retrying.remote(log, 1, WorseHiccup())) == 2
    with pytest.raises(ArithmeticError):
        skyray.get(retrying.remote(log + "2", 1, ArithmeticError()))
    assert calls(log + "2") == 1


def test_as_often_as_max_retries_says(log: str) -> None:
    retrying = task.options(retry_exceptions=True, max_retries=0)
    with pytest.raises(ArithmeticError):
        skyray.get(retrying.remote(log, 1, ArithmeticError()))
    for_ever = task.options(retry_exceptions=(ArithmeticError,), max_retries=-1)
    assert skyray.get(for_ever.remote(log + "2", 10, ArithmeticError())) == 11


def test_who_waits_behind_a_crash_does_not_pay_for_it(log: str) -> None:
    @skyray.remote(max_retries=0, resources={"special": 2})
    def one_of_many(i: int, crashes: bool) -> int:
        if crashes:
            os._exit(7)
        with open(log, "a") as file:
            file.write(".")
        return i

    skyray.get([one_of_many.remote(i, False) for i in range(100)])  # Known to be short.
    refs = [one_of_many.remote(i, i % 40 == 20) for i in range(200)]
    for i, ref in enumerate(refs):
        if i % 40 == 20:
            with pytest.raises(WorkerCrashedError, match="exited with code 7"):
                skyray.get(ref)
        else:
            assert skyray.get(ref) == i
    assert calls(log) == 295, "each of the others was run, and once"


def test_no_exceptions(log: str) -> None:
    for number, none in enumerate((False, [], ())):
        with pytest.raises(ArithmeticError):
            skyray.get(
                task.options(retry_exceptions=none).remote(f"{log}{number}", 1, ArithmeticError())
            )
    with pytest.raises(TypeError, match="retry_exceptions"):
        task.options(retry_exceptions=None)
    with pytest.raises(ValueError, match="retry_exceptions"):
        task.options(retry_exceptions=[3])


def test_methods(log: str) -> None:
    actor = Tries.options(max_task_retries=2).remote()
    retrying = actor.call.options(retry_exceptions=True)
    assert skyray.get(retrying.remote(log, 2, ArithmeticError())) == 3
    with pytest.raises(ArithmeticError):
        skyray.get(actor.call.remote(log + "2", 1, ArithmeticError()))
    assert skyray.get(actor.set_for.remote(log + "3", 1, Hiccup())) == 2
    with pytest.raises(Hiccup):
        skyray.get(actor.set_for.remote(log + "4", 2, Hiccup()))


def test_methods_of_an_actor_without_retries(log: str) -> None:
    actor = Tries.remote()
    with pytest.raises(ArithmeticError):
        skyray.get(actor.call.options(retry_exceptions=True).remote(log, 1, ArithmeticError()))
    assert skyray.get(actor.which.remote()) > 0


def test_a_worker_leaves_after_max_calls() -> None:
    @skyray.remote(max_calls=2)
    def where() -> int:
        return os.getpid()

    pids = [skyray.get(where.remote(), timeout=60) for _ in range(6)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]


def test_leaving_costs_no_retry() -> None:
    @skyray.remote(max_calls=1, max_retries=0)
    def where(number: Any) -> tuple[int, Any]:
        return os.getpid(), number

    results = skyray.get([where.remote(i) for i in range(12)], timeout=60)
    assert [number for _, number in results] == list(range(12))
    assert len({pid for pid, _ in results}) == 12


def test_what_a_worker_made_that_left_after_max_calls_stays() -> None:
    @skyray.remote(max_calls=1)
    def make(size: int) -> Any:
        return os.getpid(), [skyray.put(np.ones(size)), skyray.put("small")]

    made = skyray.get([make.remote(200_000) for _ in range(3)], timeout=60)
    assert len({pid for pid, _ in made}) == 3
    # Others run meanwhile, also on the leases that those left behind.
    assert len({pid for pid, _ in skyray.get([make.remote(1) for _ in range(5)], timeout=60)}) == 5
    for _, (large, small) in made:
        assert skyray.get(large, timeout=60).sum() == 200_000
        assert skyray.get(small, timeout=60) == "small"
    pids = [pid for pid, _ in made]
    del made, large, small
    for pid in pids:
        assert ended(pid)


def test_max_calls_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="max_calls"):
        task.options(max_calls=1)
    with pytest.raises(ValueError, match="max_calls"):
        skyray.remote(max_calls=-1)(attempt)


def test_a_call_of_a_dropped_actor_is_tried_again() -> None:
    class Trying:
        tried = 0

        @skyray.method(retry_exceptions=True, max_task_retries=3)
        def succeed(self) -> int:
            self.tried += 1
            if self.tried < 3:
                raise Hiccup
            return self.tried

        @skyray.method(retry_exceptions=True, max_task_retries=3)
        def items(self) -> Any:
            self.tried += 1
            yield self.tried
            if self.tried < 3:
                raise Hiccup

    refs = [skyray.remote(Trying).remote().succeed.remote() for _ in range(10)]
    assert skyray.get(refs, timeout=60) == [3] * 10
    streams = [skyray.remote(Trying).remote().items.remote() for _ in range(5)]
    for stream in streams:
        assert len(list(stream)) == 1
