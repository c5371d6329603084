# SPDX-License-Identifier: Apache-2.0
"""What is said of errors that nobody would hear of otherwise."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import printed

import skyray
from skyray import _failures
from skyray.exceptions import ActorDiedError, RayTaskError, TaskCancelledError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
def fails(text: str, after: Any = None) -> None:
    raise ValueError(text)


@skyray.remote
def dies(after: Any = None) -> None:
    os._exit(7)


@skyray.remote
def takes(value: Any) -> int:
    return 1


@skyray.remote
def yields_and_fails() -> Iterator[int]:
    yield 1
    raise ValueError("after an item")


class Acting:
    def __init__(self, error: str = "") -> None:
        if error:
            raise ValueError(error)

    def fails(self, text: str) -> None:
        raise ValueError(text)

    def dies(self) -> None:
        os._exit(7)

    def drops_one_that_fails(self, text: str) -> None:
        fails.remote(text)

    def pid(self) -> int:
        return os.getpid()


Actor = skyray.remote(Acting)


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_failures, "_count", {})
    # What prints where a program has no handler of its own, as pytest has.
    monkeypatch.setattr(logging.getLogger("skyray"), "handlers", [logging.lastResort])


def test_a_result_that_is_dropped_unseen(capfd: pytest.CaptureFixture[str]) -> None:
    fails.remote("before it failed")
    said = printed(capfd, "Unhandled error", "skyray::fails()", "ValueError: before it failed")
    assert "SKYRAY_IGNORE_UNHANDLED_ERRORS=1" in said
    ref = fails.remote("after it failed")
    skyray.wait([takes.remote(1)])
    del ref
    printed(capfd, "ValueError: after it failed")
    dies.options(max_retries=0).remote()
    printed(capfd, "Unhandled error", "task dies (", "exited with code 7")


def test_a_methods_result(capfd: pytest.CaptureFixture[str]) -> None:
    actor = Actor.remote()
    actor.fails.remote("of a method")
    printed(capfd, "Unhandled error", "skyray::Acting.fails()", "ValueError: of a method")
    actor.drops_one_that_fails.remote("in a worker")
    said = printed(capfd, "ValueError: in a worker")
    pid = skyray.get(actor.pid.remote())
    assert f"(Acting pid={pid}) Unhandled error" in said


async def _awaited(ref: Any) -> None:
    await ref


def test_what_was_looked_at_is_not_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="got"):
        skyray.get(fails.remote("got"))
    ref = fails.remote("waited for")
    assert skyray.wait([ref], timeout=60) == ([ref], [])
    with pytest.raises(ValueError, match="passed on"):
        skyray.get(takes.remote(fails.remote("passed on")))
    with pytest.raises(ValueError, match="awaited"):
        asyncio.run(_awaited(fails.remote("awaited")))
    with pytest.raises(ValueError, match="a future's"):
        fails.remote("a future's").future().result()
    with pytest.raises(ValueError, match="one of several"):
        skyray.get([fails.remote("one of several"), fails.remote("one of several")])

    class Waiting:
        async def never(self) -> None:
            await asyncio.Event().wait()

    waiting = skyray.remote(Waiting).remote()
    cancelled = takes.remote(waiting.never.remote())
    skyray.cancel(cancelled)
    with pytest.raises(TaskCancelledError):
        skyray.get(cancelled)
    skyray.kill(waiting)
    waiting.never.remote()
    del ref, cancelled
    next(yields_and_fails.remote())
    fails.remote("the last word")
    said = printed(capfd, "ValueError: the last word")
    assert said.count("Unhandled error") == 1, said


def test_what_a_borrower_has_asked_for_is_not_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    @skyray.remote
    def looks(refs: list[Any]) -> str:
        try:
            skyray.get(refs[0])
        except ValueError as error:
            return str(error.args[0])
        return ""

    skyray.get(looks.remote([fails.remote("lent")]), timeout=60)
    fails.remote("the last word")
    said = printed(capfd, "ValueError: the last word")
    assert said.count("Unhandled error") == 1, said


def test_it_can_be_switched_off(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYRAY_IGNORE_UNHANDLED_ERRORS", "1")
    fails.remote("nobody cares")
    with pytest.raises(ValueError, match="got"):
        skyray.get(fails.remote("got"))
    retried = dies.options(max_retries=1)
    with pytest.raises(WorkerCrashedError):
        skyray.get(retried.remote())
    assert "Unhandled error" not in printed(capfd, "dies is run again (the last retry)")


def test_an_attempt_that_is_made_again(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerCrashedError):
        skyray.get(dies.options(max_retries=2).remote())
    printed(
        capfd,
        "dies is run again (2 retries left): task dies (",
        "dies is run again (the last retry)",
    )
    with pytest.raises(ValueError, match="always"):
        skyray.get(fails.options(max_retries=1, retry_exceptions=True).remote("always"))
    printed(capfd, "fails is run again (the last retry): skyray::fails()", "ValueError: always")


def test_the_ends_of_an_actor(capfd: pytest.CaptureFixture[str]) -> None:
    actor = Actor.options(max_restarts=1).remote()
    actor.dies.remote()
    printed(capfd, "actor Acting (", "is started again: worker pid", "exited with code 7")
    skyray.get(actor.__ray_ready__.remote(), timeout=60)
    actor.dies.remote()
    printed(capfd, "actor Acting (", "is dead: worker pid")
    ended = Actor.remote()
    skyray.get(ended.pid.remote())
    skyray.kill(ended)
    with pytest.raises(ActorDiedError):
        skyray.get(ended.pid.remote())
    Actor.remote("this __init__ fails")
    said = printed(capfd, "Exception raised in creation task", "ValueError: this __init__ fails")
    assert "is dead" not in said, said


def test_what_is_alike_is_told_ever_more_seldom(caplog: pytest.LogCaptureFixture) -> None:
    error = RayTaskError("f", "Traceback\nValueError: no", ValueError("no"))
    with caplog.at_level(logging.ERROR, "skyray"):
        for _ in range(100):
            _failures.tell("", error)
        _failures.tell("", RayTaskError("g", "Traceback", ValueError("no")))
        _failures.tell("", RayTaskError("f", "Traceback", KeyError("no")))
        _failures.tell("f is run again", error)
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "Traceback" in line]) == 10 + 3
    brief = [line for line in said if "Traceback" not in line]
    assert [line.split(", ")[1] for line in brief] == [
        f"{count} times by now: ValueError: no" for count in (16, 32, 64)
    ]
