# SPDX-License-Identifier: Apache-2.0
"""What code can learn about where it runs."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import skyray
from skyray._lifecycle import RayContext


def test_driver(runtime: RayContext) -> None:
    context = skyray.get_runtime_context()
    assert context.get_node_id() == runtime["node_id"]
    assert context.get_job_id() == "00000001"
    assert context.get_actor_id() is None
    assert context.get_task_id() is None
    assert context.namespace == "tests"
    assert context.get_session_dir() == runtime["session_dir"]
    with pytest.raises(RuntimeError, match="only available in an actor"):
        context.current_actor  # noqa: B018


def test_what_a_driver_is_not(runtime: RayContext) -> None:
    context = skyray.get_runtime_context()
    for ask in (
        context.get_assigned_resources,
        lambda: context.task_id,
        lambda: context.actor_id,
    ):
        with pytest.raises(AssertionError, match="only available when the process is a worker"):
            ask()
    with pytest.raises(RuntimeError, match="only available when the process is a worker"):
        context.is_canceled()
    assert context.get_task_name() is None
    assert context.get_actor_name() is None
    assert context.get() == {
        "job_id": skyray.JobID.from_int(1),
        "node_id": skyray.NodeID.from_hex(runtime["node_id"]),
        "namespace": "tests",
    }


def test_functions_of_a_script_are_named_by_it(tmp_path: Path) -> None:
    program = """
import skyray

@skyray.remote
def f():
    return skyray.get_runtime_context().get_task_function_name()

@skyray.remote
class A:
    def m(self):
        return skyray.get_runtime_context().get_task_function_name()

skyray.init(num_cpus=1)
print(*skyray.get([f.remote(), f.options(name="other").remote(), A.remote().m.remote()]))
skyray.shutdown()
"""
    script = tmp_path / "my.script.py"
    script.write_text(program)
    for arguments, module in ([str(script)], "my.script"), (["-c", program], "__main__"):
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=100, check=True
        )
        assert done.stdout.split() == [f"{module}.f", f"{module}.f", f"{module}.A.m"]


def test_session(runtime: RayContext) -> None:
    context = skyray.get_runtime_context()
    session = Path(runtime["session_dir"])
    assert context.get_session_name() == session.name
    assert context.get_temp_dir() == str(session.parent)
    assert context.gcs_address == runtime["gcs_address"]
    assert context.get_placement_group_id() is None
    assert context.current_placement_group_id.is_nil()
    assert not context.should_capture_child_tasks_in_placement_group
    assert context.get_accelerator_ids()["TPU"] == []
    assert context.get_resource_ids() == context.get_accelerator_ids()
    assert sorted(runtime) == [
        "address", "dashboard_agent_listen_port", "gcs_address", "metrics_export_port", "node_id",
        "node_ip_address", "object_store_address", "raylet_socket_name", "redis_address",
        "session_dir", "webui_url",
    ]  # fmt: skip


def test_nodes(runtime: RayContext) -> None:
    (node,) = skyray.nodes()
    assert sorted(node) == [
        "Alive", "DashboardAgentListenPort", "DeathReason", "DeathReasonMessage", "Labels",
        "MetricsAgentPort", "MetricsExportPort", "NodeID", "NodeManagerAddress",
        "NodeManagerHostname", "NodeManagerPort", "NodeName", "ObjectManagerPort",
        "ObjectStoreSocketName", "RayletSocketName", "Resources", "RuntimeEnvAgentPort", "alive",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "held"),
    [
        ({}, {}),
        ({"num_gpus": 0}, {"CPU": 1.0}),
        ({"resources": {"special": 1}}, {"CPU": 1.0, "special": 1.0}),
        ({"resources": {}}, {}),
        ({"num_cpus": 0, "resources": {"special": 1}}, {"special": 1.0}),
        ({"num_cpus": 2}, {"CPU": 2.0}),
        ({"memory": 1000}, {"memory": 1000.0}),
    ],
)
def test_what_an_actor_holds(
    runtime: RayContext, options: dict[str, Any], held: dict[str, float]
) -> None:
    class Spy:
        def look(self) -> dict[str, float]:
            return skyray.get_runtime_context().get_assigned_resources()

    spy = skyray.remote(Spy).options(**options).remote() if options else skyray.remote(Spy).remote()
    assert skyray.get(spy.look.remote()) == held


def test_ids_in_workers(runtime: RayContext) -> None:
    def look() -> tuple[Any, ...]:
        context = skyray.get_runtime_context()
        ids = (context.get_task_id(), context.get_actor_id())
        assert context.get()["task_id"] == context.task_id
        return *ids, context.task_id, context.actor_id, context.is_canceled()

    class Spy:
        def look(self) -> tuple[Any, ...]:
            return look()

        async def canceled(self) -> str:
            try:
                skyray.get_runtime_context().is_canceled()
            except RuntimeError as error:
                return str(error)
            return ""

    ref = skyray.remote(look).remote()
    task = ref.task_id()
    assert skyray.get(ref) == (task.hex(), None, task, None, False)

    class Sync:
        look = Spy.look

    spy = skyray.remote(Sync).remote()
    ref = spy.look.remote()
    task, actor = ref.task_id(), spy._actor_id
    assert skyray.get(ref) == (task.hex(), actor.hex(), task, actor, False)
    assert "async actor" in skyray.get(skyray.remote(Spy).remote().canceled.remote())


IDS = [
    (skyray.JobID, 4), (skyray.ActorID, 16), (skyray.TaskID, 24), (skyray.ObjectID, 28),
    (skyray.NodeID, 28), (skyray.WorkerID, 28), (skyray.UniqueID, 28), (skyray.FunctionID, 28),
    (skyray.ActorClassID, 28), (skyray.ClusterID, 28), (skyray.PlacementGroupID, 18),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "size"), IDS)
def test_ids(kind: Any, size: int) -> None:
    assert kind.size() == size
    assert kind.nil().is_nil()
    assert kind.nil().hex() == "ff" * size
    one = kind(b"\x01" * size)
    assert not one.is_nil()
    assert repr(one) == f"{kind.__name__}({'01' * size})"
    for same in (
        kind.from_hex(one.hex()),
        kind.from_binary(one.binary()),
        pickle.loads(pickle.dumps(one)),
    ):
        assert same == one
        assert hash(same) == hash(one)
    assert one != kind.from_random()
    assert one != 5
    with pytest.raises(ValueError, match=f"length {size}, got 1"):
        kind(b"x")
    with pytest.raises(TypeError):
        kind(5)
    with pytest.raises(ValueError, match="not the hex"):
        kind.from_hex("zz")


def test_ids_tell_of_what_they_are(runtime: RayContext) -> None:
    job = skyray.JobID.from_int(7)
    assert job.int() == 7
    assert skyray.ActorID.of(job, skyray.TaskID.nil(), 1).job_id == job
    ref = skyray.put(1)
    assert ref.job_id() == ref.task_id().job_id() == skyray.JobID.from_int(1)
    assert (ref.size(), len(ref.binary())) == (28, 28)
    assert ref.owner_address().hex() == skyray.get_runtime_context().get_worker_id()
    assert (ref.call_site(), ref.tensor_transport()) == ("", None)
    worker: Any = skyray.WorkerID(b"\x01" * 28)
    assert skyray.NodeID(b"\x01" * 28) != worker


async def test_waiting_for_references(runtime: RayContext) -> None:
    @skyray.remote
    def double(x: int) -> int:
        if x < 0:
            raise ValueError("negative")
        return 2 * x

    assert double.remote(1).future().result(60) == 2
    assert await double.remote(1) == 2
    assert await double.remote(2).as_future() == 4
    assert await asyncio.gather(*(double.remote(i) for i in range(3))) == [0, 2, 4]
    with pytest.raises(ValueError, match="negative"):
        double.remote(-1).future().result(60)
    with pytest.raises(ValueError, match="negative"):
        await double.remote(-1)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(double.options(resources={"nowhere": 1}).remote(1), 0.01)
    told: asyncio.Queue[Any] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for x in (3, -1):
        ref = double.remote(x)
        ref._on_completed(lambda value: loop.call_soon_threadsafe(told.put_nowait, value))
    first, second = await told.get(), await told.get()
    values = sorted([first, second], key=lambda value: isinstance(value, Exception))
    assert values[0] == 6
    assert isinstance(values[1], ValueError)


def test_task(runtime: RayContext) -> None:
    @skyray.remote
    def look() -> dict[str, Any]:
        context = skyray.get_runtime_context()
        return {
            "task": context.get_task_id(),
            "name": context.get_task_name(),
            "job": context.get_job_id(),
            "actor": context.get_actor_id(),
            "namespace": context.namespace,
        }

    ref = look.options(name="spy").remote()
    seen = skyray.get(ref)
    assert seen["task"] == ref.task_id().hex()
    assert seen["name"] == "spy"
    assert seen["job"] == skyray.get_runtime_context().get_job_id()
    assert seen["actor"] is None
    assert seen["namespace"] == "tests"


def test_actor(runtime: RayContext) -> None:
    @skyray.remote
    class Spy:
        def look(self) -> tuple[Any, ...]:
            context = skyray.get_runtime_context()
            return context.get_actor_id(), context.get_actor_name(), context.current_actor

    spy = Spy.options(name="spy").remote()
    actor_id, name, handle = skyray.get(spy.look.remote())
    assert actor_id == spy._actor_id.hex()
    assert name == "spy"
    assert handle == spy


def test_workers_see_the_drivers_surroundings(runtime: RayContext) -> None:
    @skyray.remote
    def look() -> tuple[str, Any]:
        import waiting  # From the driver's sys.path.

        return os.getcwd(), waiting.BOUND_S

    assert skyray.get(look.remote())[0] == os.getcwd()


def test_files_named_like_modules_do_no_harm(tmp_path: Path) -> None:
    for name in ("json", "socket", "numpy", "logging"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "elsewhere").mkdir()
    script = tmp_path / "elsewhere" / "script.py"
    script.write_text(
        "import os, skyray\nskyray.init(num_cpus=1)\n"
        "print(skyray.get(skyray.remote(os.getcwd).remote(), timeout=60))\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert result.stdout == f"{tmp_path}\n", result.stderr


def test_random_numbers_differ_between_workers(runtime: RayContext) -> None:
    @skyray.remote
    class Dice:
        def roll(self) -> tuple[float, float]:
            import random

            import numpy as np

            return random.random(), float(np.random.random())

    rolls = skyray.get([Dice.remote().roll.remote() for _ in range(3)])
    assert len({r[0] for r in rolls}) == 3
    assert len({r[1] for r in rolls}) == 3
