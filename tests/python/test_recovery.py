# SPDX-License-Identifier: Apache-2.0
"""What happens to calls when the processes that run them end."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
from waiting import ended, until

import skyray
from skyray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    PendingCallsLimitExceeded,
)

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
class Phoenix:
    """Knows in which of its lives it is; ``log`` survives it."""

    def __init__(self, log: str, value: Any = None) -> None:
        self.log = log
        self.value = value
        with open(log, "a") as file:
            file.write("born\n")
        with open(log) as file:
            self.life = file.read().count("born\n")
        self.calls = 0

    def where(self) -> tuple[int, int]:
        self.calls += 1
        return self.life, self.calls

    def given(self) -> Any:
        return self.value

    def pid(self) -> int:
        return os.getpid()

    def burn(self, lives: int = 1) -> int:
        """Ends the process in the first ``lives`` of its lives."""
        if self.life <= lives:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.life

    def wait_for(self, path: str) -> int:
        Path(path + ".waits").touch()
        until(lambda: os.path.exists(path), path)
        return self.life

    @skyray.method(max_task_retries=0)
    def burn_once(self) -> int:
        return self.burn()


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> str:
    return str(tmp_path / "log")


def test_calls_in_flight_and_queued_run_again_in_order(log: str) -> None:
    actor = Phoenix.options(max_restarts=-1, max_task_retries=-1).remote(log)
    assert skyray.get(actor.where.remote()) == (1, 1)
    burnt = actor.burn.remote()
    behind = [actor.where.remote() for _ in range(20)]
    assert skyray.get(burnt, timeout=60) == 2
    assert skyray.get(behind, timeout=60) == [(2, n) for n in range(1, 21)]


def test_retries_are_counted(log: str) -> None:
    actor = Phoenix.options(max_restarts=-1, max_task_retries=2).remote(log)
    assert skyray.get(actor.burn.remote(2), timeout=60) == 3
    with pytest.raises(ActorUnavailableError, match="SIGKILL"):
        skyray.get(actor.burn.remote(100), timeout=60)
    assert skyray.get(actor.where.remote(), timeout=60)[1] == 1


def test_without_retries_calls_in_flight_fail_and_later_ones_are_served(log: str) -> None:
    actor = Phoenix.options(max_restarts=1).remote(log)
    with pytest.raises(ActorUnavailableError, match=r"signal 9 \(SIGKILL\)"):
        skyray.get(actor.burn.remote(), timeout=60)
    assert skyray.get(actor.where.remote(), timeout=60) == (2, 1)
    with pytest.raises(ActorDiedError, match=r"signal 9 \(SIGKILL\)"):
        skyray.get(actor.burn.remote(2), timeout=60)
    with pytest.raises(ActorDiedError):
        skyray.get(actor.where.remote(), timeout=60)


def test_retries_do_not_restart_an_actor(log: str) -> None:
    actor = Phoenix.options(max_task_retries=-1).remote(log)
    with pytest.raises(ActorDiedError):
        skyray.get(actor.burn.remote(), timeout=60)


def test_options_of_a_method_go_before_those_of_the_actor(log: str) -> None:
    actor = Phoenix.options(max_restarts=-1, max_task_retries=5).remote(log)
    with pytest.raises(ActorUnavailableError):
        skyray.get(actor.burn_once.remote(), timeout=60)
    assert skyray.get(actor.burn_once.options(max_task_retries=1).remote(), timeout=60) == 2
    without = Phoenix.options(max_restarts=-1).remote(log + "2")
    assert skyray.get(without.burn.options(max_task_retries=1).remote(), timeout=60) == 2


def test_kill_with_restart(log: str) -> None:
    actor = Phoenix.options(max_restarts=1, max_task_retries=1).remote(log)
    first = skyray.get(actor.pid.remote())
    Path(log + ".go.waits").unlink(missing_ok=True)
    waits = actor.wait_for.remote(log + ".go")
    until(lambda: os.path.exists(log + ".go.waits"), "it runs")
    skyray.kill(actor, no_restart=False)
    assert ended(first)
    Path(log + ".go").touch()
    assert skyray.get(waits, timeout=60) == 2
    skyray.kill(actor, no_restart=False)  # That was its only restart.
    with pytest.raises(ActorDiedError, match=r"skyray\.kill"):
        until(lambda: skyray.get(actor.where.remote(), timeout=60) is None, "it ends")


def test_name_handle_and_constructor_arguments_survive_a_restart(log: str) -> None:
    value = skyray.put(list(range(100_000)))
    actor = Phoenix.options(name="phoenix", max_restarts=2, max_task_retries=-1).remote(log, value)
    again = pickle.loads(pickle.dumps(actor))
    del value
    assert skyray.get(actor.burn.remote(), timeout=60) == 2
    named = skyray.get_actor("phoenix")
    assert named == actor == again
    assert skyray.get(named.burn.remote(2), timeout=60) == 3  # It knows of its retries, too.
    assert skyray.get(again.given.remote(), timeout=60) == list(range(100_000))


def test_another_process_sends_its_calls_again_too(log: str) -> None:
    @skyray.remote
    def call(actor: Any) -> int:
        return skyray.get(actor.burn.remote())

    actor = Phoenix.options(max_restarts=-1, max_task_retries=1).remote(log)
    assert skyray.get(call.remote(actor), timeout=60) == 2


def test_an_actor_that_burns_while_its_last_handle_goes_still_ends(log: str) -> None:
    actor = Phoenix.options(max_restarts=-1, max_task_retries=-1).remote(log)
    burnt = actor.burn.remote()
    pid = actor.pid.remote()
    del actor
    assert skyray.get(burnt, timeout=60) == 2
    assert ended(skyray.get(pid, timeout=60))


def test_pending_calls_are_limited(log: str) -> None:
    actor = Phoenix.options(max_pending_calls=2).remote(log)
    calls = [actor.wait_for.remote(log + ".go"), actor.where.remote()]
    with pytest.raises(PendingCallsLimitExceeded, match="more than 2 tasks are queued"):
        actor.where.remote()
    Path(log + ".go").touch()
    assert skyray.get(calls, timeout=60) == [1, (1, 1)]
    assert skyray.get(actor.where.remote(), timeout=60) == (1, 2)


def test_wrong_numbers(log: str) -> None:
    for name in ("max_task_retries", "max_restarts", "max_pending_calls"):
        with pytest.raises(ValueError, match=name):
            Phoenix.options(**{name: -2})
    with pytest.raises(TypeError, match="max_task_retries"):
        Phoenix.options(max_task_retries="many")
    Phoenix.options(allow_out_of_order_execution=True)
