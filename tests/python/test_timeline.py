# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined"
"""What timeline() has, and what it no longer has; what Ray has too is in programs/timelines.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from clusters import running_cluster
from waiting import until

import skyray
from skyray._lifecycle import RayContext

_HOUR_MS = 3_600_000


def executions(events: list[dict[str, Any]] | None = None) -> Counter[str]:
    """How often what was run, by category, without what comes before the name."""
    found = skyray.timeline() if events is None else events
    assert found is not None
    cats = (event["cat"] for event in found)
    return Counter(cat.removeprefix("task::") for cat in cats if cat.startswith("task::"))


@skyray.remote
def f() -> int:
    return os.getpid()


@skyray.remote
class Actor:
    def pid(self) -> int:
        return os.getpid()

    def leave(self) -> None:
        skyray.actor.exit_actor()

    def end(self) -> None:
        sys.exit(0)


def test_what_has_ended_before_the_call_is_in_it() -> None:
    # By themselves they would tell after an hour.
    with skyray.init(num_cpus=2, _system_config={"task_events_report_interval_ms": _HOUR_MS}):
        actor = Actor.remote()
        assert executions() == {}
        for count in (1, 2, 3):
            skyray.get([f.remote(), f.options(name="g").remote(), actor.pid.remote()])
            wanted = {"f": count, "g": count, "Actor.pid": count, "Actor.__init__": 1}
            assert executions() == wanted


def test_workers_tell_by_themselves() -> None:
    with skyray.init(num_cpus=2, _system_config={"task_events_report_interval_ms": 1}):
        pid = skyray.get(f.remote())
        # It can be asked no more.
        until(lambda: len(_told()) > 0, "the worker tells what it has run")
        os.kill(pid, signal.SIGKILL)
        assert executions()["f"] == 1


def _told() -> list[Any]:
    """What the GCS knows, without asking the workers."""
    from skyray import _core

    return _core.task_events(0, 0)[0]


def test_a_worker_that_is_ended_has_told_before() -> None:
    with skyray.init(num_cpus=2, _system_config={"task_events_report_interval_ms": _HOUR_MS}):
        once = f.options(name="once")
        limited = skyray.remote(max_calls=1)(os.getpid).options(name="last")
        actor = Actor.remote()
        skyray.get([once.remote(), limited.remote(), actor.pid.remote()])
        del actor  # With its last handle it ends.
        until(lambda: {"last", "Actor.pid"} <= {event[3] for event in _told()}, "both have told")


@pytest.mark.parametrize("method", ["leave", "end"])
def test_the_last_method_of_an_actor_is_in_it(method: str) -> None:
    with skyray.init(num_cpus=2):
        actor = Actor.remote()
        with pytest.raises(skyray.exceptions.ActorDiedError):
            skyray.get(getattr(actor, method).remote())
        until(lambda: executions()[f"Actor.{method}"] == 1, "it is in the timeline")
        assert executions()["Actor.__init__"] == 1


def test_a_stopped_worker_is_not_waited_for_long(tmp_path: Path) -> None:
    @skyray.remote
    def stop(path: str) -> None:
        Path(path).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)

    with skyray.init(num_cpus=2):
        skyray.get(f.remote())
        assert executions() == {"f": 1}  # It is told: the same worker may be stopped.
        stopped = stop.remote(str(tmp_path / "pid"))
        pid = int(until(lambda: _text(tmp_path / "pid"), "it runs"))
        until(lambda: "T" in Path(f"/proc/{pid}/stat").read_text().split()[2], "it is stopped")
        assert executions() == {"f": 1}
        os.kill(pid, signal.SIGCONT)
        skyray.get(stopped)
        assert executions()["stop"] == 1


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_task_may_ask_for_it() -> None:
    @skyray.remote
    def look() -> dict[str, int]:
        skyray.get(f.remote())
        return dict(executions())

    with skyray.init(num_cpus=2):
        assert skyray.get(look.remote()) == {"f": 1}  # What runs is not in it yet.
        assert executions() == {"f": 1, "look": 1}


def test_threads_may_ask_at_once() -> None:
    with skyray.init(num_cpus=2):
        skyray.get([f.remote() for _ in range(20)])
        found: list[Counter[str]] = []
        threads = [threading.Thread(target=lambda: found.append(executions())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [{"f": 20}] * 8


def test_it_can_be_switched_off() -> None:
    with skyray.init(num_cpus=2, _system_config={"task_events_report_interval_ms": 0}):
        actor = Actor.remote()
        skyray.get([f.remote(), actor.pid.remote()])
        assert skyray.timeline() == []


def test_no_more_is_kept_than_is_to_be(caplog: pytest.LogCaptureFixture) -> None:
    with skyray.init(num_cpus=1, _system_config={"task_events_max_num_task_in_gcs": 10}):
        for name in ("a", "b", "c"):
            skyray.get([f.options(name=name).remote() for _ in range(4)])
            skyray.timeline()
        assert executions() == {"a": 2, "b": 4, "c": 4}
        assert "lacks 2 executions" in caplog.text


def test_it_has_those_of_other_nodes_and_jobs() -> None:
    job = "import skyray, sys; skyray.init(address=sys.argv[1])\n"
    job += "skyray.get(skyray.remote(lambda: 1).options(name='theirs').remote())"
    with running_cluster(1, {"num_cpus": 1, "resources": {"far": 1}}) as cluster:
        skyray.get([f.remote(), f.options(name="far", resources={"far": 1}).remote()])
        command = [sys.executable, "-c", job, cluster.address]
        subprocess.run(command, check=True, timeout=60)
        # Their worker tells it when it ends, as it is asked to when they leave.
        until(lambda: executions()["theirs"] == 1, "the other job's is in it")
        events = skyray.timeline()
        assert events is not None
        assert executions(events) == {"f": 1, "far": 1, "theirs": 1}
        assert len({event["tid"] for event in events}) == 3


def test_by_the_events_of_a_task_its_time_can_be_told(runtime: RayContext) -> None:
    @skyray.remote
    def waits(events: list[Any]) -> None:
        time.sleep(0.02)

    before = time.time() * 1e6
    skyray.get(waits.remote([1, 2, 3]))
    after = time.time() * 1e6
    events = skyray.timeline()
    assert events is not None
    [whole] = [event for event in events if event["cat"] == "task::waits"]
    parts = [event for event in events if event["tid"] == whole["tid"]]
    named = {event["cat"]: event for event in parts if event["ts"] >= whole["ts"]}
    arguments, execute = named["task:deserialize_arguments"], named["task:execute"]
    assert before <= whole["ts"] <= whole["ts"] + whole["dur"] <= after
    assert arguments["ts"] == whole["ts"]
    assert execute["ts"] >= arguments["ts"] + arguments["dur"] - 1
    assert execute["dur"] >= 20_000
    assert sum(named[f"task:{p}"]["dur"] for p in ("execute", "store_outputs")) <= whole["dur"]


def test_what_it_must_be_given(runtime: RayContext, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        skyray.timeline(3)  # type: ignore[arg-type]
    assert skyray.timeline(tmp_path / "trace.json") is None
    assert json.loads((tmp_path / "trace.json").read_text()) == skyray.timeline()


def test_without_a_cluster() -> None:
    skyray.shutdown()
    with pytest.raises(RuntimeError, match=r"init\(\) to be called first"):
        skyray.timeline()


def test_command_line() -> None:
    command = [sys.executable, "-m", "skyray.cli", "timeline"]
    nothing = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert nothing.returncode == 1
    assert "there is none of yours" in nothing.stderr
    with skyray.init(num_cpus=1):
        skyray.get(f.remote())
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        path = done.stdout.splitlines()[0].removeprefix("Trace file written to ")
        assert executions(json.loads(Path(path).read_text())) == {"f": 1}
