# SPDX-License-Identifier: Apache-2.0
"""What an actor's class has for the end of its process, and when it is run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import ended, printed, until

import skyray
from skyray.exceptions import ActorDiedError, ActorUnavailableError, WorkerCrashedError


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with skyray.init(num_cpus=4):
        yield


class Noting:
    """Writes what happens to it at its end into a file, a line each."""

    def __init__(self, path: str) -> None:
        import atexit

        self.path = path
        atexit.register(self.note, path, "atexit")

    @staticmethod
    def note(path: str, what: str) -> None:
        with open(path, "a") as file:
            file.write(f"{what}\n")

    def pid(self) -> int:
        return os.getpid()

    def leave(self) -> None:
        skyray.actor.exit_actor()

    def exit(self, code: int) -> None:
        sys.exit(code)

    def __ray_shutdown__(self) -> None:
        assert skyray.get(skyray.put(1)) == 1, "it is still part of the cluster"
        self.note(self.path, "shutdown")

    def __del__(self) -> None:
        Noting.note(self.path, "del")


class AsyncNoting(Noting):
    async def nothing(self) -> None:
        """Makes it run on an event loop."""


ENDINGS: dict[str, Any] = {
    "dropped": lambda actor: None,
    "terminated": lambda actor: actor.__ray_terminate__.remote(),
    "left": lambda actor: actor.leave.remote(),
    "exited with 0": lambda actor: actor.exit.remote(0),
    "exited with 1": lambda actor: actor.exit.remote(1),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_async", [False, True])
def test_an_actor_that_ends_is_told(tmp_path: Path, ending: str, is_async: bool) -> None:
    notes = tmp_path / "notes"
    actor = skyray.remote(AsyncNoting if is_async else Noting).remote(str(notes))
    pid = skyray.get(actor.pid.remote(), timeout=60)
    last = ENDINGS[ending](actor)
    del actor
    until(lambda: ended(pid), "its process ends")
    assert notes.read_text().split() == ["shutdown", "atexit", "del"]
    del last


@pytest.mark.parametrize("kind", ["plain", "async", "threaded"])
def test_sigterm_is_told_as_any_end(tmp_path: Path, kind: str) -> None:
    notes = tmp_path / "notes"
    cls = skyray.remote(AsyncNoting if kind == "async" else Noting)
    options = {"max_concurrency": 2} if kind == "threaded" else {}
    actor = cls.options(name=f"told-{kind}", **options).remote(str(notes))
    pid = skyray.get(actor.pid.remote(), timeout=60)
    os.kill(pid, signal.SIGTERM)
    until(lambda: ended(pid), "its process ends")
    assert notes.read_text().split() == ["shutdown", "atexit", "del"]
    with pytest.raises(ActorDiedError, match=rf"named told-{kind}\) is dead.*SIGTERM"):
        skyray.get(actor.pid.remote(), timeout=60)


def test_sigterm_ends_what_runs(tmp_path: Path) -> None:
    class Waiting(Noting):
        def wait(self) -> None:
            try:
                (tmp_path / "waits").touch()
                threading.Event().wait()
            finally:
                self.note(self.path, "finally")

        def chosen(self) -> Any:
            # The user's own handler is left alone.
            return signal.signal(signal.SIGTERM, lambda *_: self.note(self.path, "handled"))

    notes = tmp_path / "notes"
    actor = skyray.remote(max_restarts=1)(Waiting).remote(str(notes))
    pid = skyray.get(actor.pid.remote(), timeout=60)
    ref = actor.wait.remote()
    until((tmp_path / "waits").exists, "it waits")
    os.kill(pid, signal.SIGTERM)
    with pytest.raises(ActorUnavailableError, match="SIGTERM"):
        skyray.get(ref, timeout=60)
    assert notes.read_text().split() == ["finally", "shutdown", "atexit", "del"]
    restarted = skyray.get(actor.pid.remote(), timeout=60)
    skyray.get(actor.chosen.remote(), timeout=60)
    os.kill(restarted, signal.SIGTERM)
    until(lambda: notes.read_text().endswith("handled\n"), "its handler is run")
    assert skyray.get(actor.pid.remote(), timeout=60) == restarted


def test_sigterm_of_a_process_that_a_task_forks() -> None:
    @skyray.remote
    def fork() -> int:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, b".")
            while True:
                signal.pause()
        os.read(read, 1)
        os.kill(child, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert skyray.get(fork.remote(), timeout=60) == -signal.SIGTERM


def test_a_task_that_sigterm_ends_is_tried_again(tmp_path: Path) -> None:
    @skyray.remote(max_retries=1)
    def killed() -> str:
        import atexit

        if (tmp_path / "atexit").exists():
            return "again"
        atexit.register((tmp_path / "atexit").touch)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()
        return "not reached"

    assert skyray.get(killed.remote(), timeout=60) == "again"


def test_the_reason_is_in_the_error() -> None:
    class Leaving:
        def leave(self) -> None:
            skyray.actor.exit_actor()

    reasons = {
        "leave": r"exit_actor\(\) was called",
        "__ray_terminate__": "all references to the actor were removed, or it was told to",
    }
    for method, reason in reasons.items():
        actor = skyray.remote(Leaving).options(name=f"by {method}").remote()
        with pytest.raises(ActorDiedError, match=rf", named by {method}\) is dead: .*{reason}"):
            skyray.get(getattr(actor, method).remote(), timeout=60)


def test_a_killed_actor_is_told_nothing(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    actor = skyray.remote(Noting).remote(str(notes))
    pid = skyray.get(actor.pid.remote(), timeout=60)
    skyray.kill(actor)
    until(lambda: ended(pid), "its process ends")
    assert not notes.exists()


def test_one_that_fails_at_its_end_ends_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Failing:
        def pid(self) -> int:
            import atexit

            atexit.register((tmp_path / "atexit").touch)
            return os.getpid()

        def __ray_shutdown__(self) -> None:
            raise ValueError("cannot let go")

    actor = skyray.remote(Failing).remote()
    pid = skyray.get(actor.pid.remote(), timeout=60)
    del actor
    until(lambda: ended(pid), "its process ends")
    assert (tmp_path / "atexit").exists()
    printed(capfd, "ValueError: cannot let go")


class Restarting:
    def exit(self, code: int | str | None) -> None:
        sys.exit(code)

    def pid(self) -> int:
        return os.getpid()


class AsyncRestarting(Restarting):
    async def nothing(self) -> None:
        """Makes it run on an event loop."""


@pytest.mark.parametrize("kind", ["plain", "async", "threaded"])
@pytest.mark.parametrize("code", [0, 1, None, "no more"])
def test_an_exit_code_decides_whether_an_actor_is_started_again(
    kind: str, code: int | str | None
) -> None:
    options = {"max_restarts": 1, "max_concurrency": 2 if kind == "threaded" else None}
    cls = AsyncRestarting if kind == "async" else Restarting
    actor = skyray.remote(**options)(cls).remote()
    pid = skyray.get(actor.pid.remote(), timeout=60)
    if code:
        with pytest.raises(ActorUnavailableError):
            skyray.get(actor.exit.remote(code), timeout=60)
        assert skyray.get(actor.pid.remote(), timeout=60) != pid
    else:
        with pytest.raises(ActorDiedError, match=r"sys.exit\(0\) was called"):
            skyray.get(actor.exit.remote(code), timeout=60)


def test_a_task_that_exits_is_tried_again(tmp_path: Path) -> None:
    @skyray.remote(max_retries=1)
    def leave(code: int) -> None:
        with open(tmp_path / str(code), "a") as file:
            file.write(".")
        sys.exit(code)

    for code in (0, 3):
        with pytest.raises(WorkerCrashedError, match=f"exited with code {code}"):
            skyray.get(leave.remote(code), timeout=60)
        assert (tmp_path / str(code)).read_text() == ".."


def test_a_crash_says_where_in_python_it_was() -> None:
    @skyray.remote(max_retries=0)
    def crash() -> None:
        import ctypes

        ctypes.string_at(0)

    with pytest.raises(skyray.exceptions.WorkerCrashedError, match=r"(?s)SIGSEGV.*in crash"):
        skyray.get(crash.remote(), timeout=60)
