# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""Programs that ask where they run, and that take references and ids apart."""

from __future__ import annotations

import asyncio
import importlib
import pickle
from typing import Any, Callable

from . import program


def _facts(module: str) -> Callable[[], list[Any]]:
    def facts() -> list[Any]:
        """A value for what is the same in every run, a type's name for the rest."""
        context = importlib.import_module(module).get_runtime_context()

        def seen(name: str) -> Any:
            try:
                value = getattr(context, name)
                value = value() if callable(value) else value
            except Exception as error:
                return type(error).__name__
            return value if value is None or isinstance(value, bool) else type(value).__name__

        names = (
            "get_job_id get_node_id get_worker_id get_task_id get_task_name get_actor_id "
            "get_actor_name get_placement_group_id get_assigned_resources get_accelerator_ids "
            "get_node_labels get_temp_dir get_session_name is_canceled namespace current_actor "
            "gcs_address should_capture_child_tasks_in_placement_group job_id node_id task_id "
            "actor_id current_placement_group_id"
        )
        return [seen(name) for name in names.split()] + [sorted(context.get())]

    return facts


@program(
    expected=[
        ["str", "str", "str", None, None, None, None, None, "AssertionError", "dict", "dict", "str"]
        + ["str", "RuntimeError", "str", "RuntimeError", "str", False, "JobID", "NodeID"]
        + ["AssertionError", "AssertionError", "PlacementGroupID"]
        + [["job_id", "namespace", "node_id"]],
        ["str", "str", "str", "str", "str", None, None, None, "dict", "dict", "dict", "str"]
        + ["str", False, "str", "RuntimeError", "str", False, "JobID", "NodeID"]
        + ["TaskID", None, "PlacementGroupID"]
        + [["job_id", "namespace", "node_id", "task_id"]],
        ["str", "str", "str", "str", "str", "str", "str", None, "dict", "dict", "dict", "str"]
        + ["str", False, "str", "ActorHandle", "str", False, "JobID", "NodeID"]
        + ["TaskID", "ActorID", "PlacementGroupID"]
        + [["actor_id", "job_id", "namespace", "node_id", "task_id"]],
        ["str", "str", "str", "str", "str", "str", "str", None, "dict", "dict", "dict", "str"]
        + ["str", "RuntimeError", "str", "ActorHandle", "str", False, "JobID", "NodeID"]
        + ["TaskID", "ActorID", "PlacementGroupID"]
        + [["actor_id", "job_id", "namespace", "node_id", "task_id"]],
    ]
)
def where_it_runs(ray: Any) -> Any:
    """At a driver, in a task, in an actor, in an async one."""
    facts = _facts(ray.__name__)

    @ray.remote(num_cpus=0)
    class Spy:
        def look(self) -> list[Any]:
            return facts()

    @ray.remote(num_cpus=0)
    class AsyncSpy:
        async def look(self) -> list[Any]:
            return facts()

    spies = [Spy.remote(), AsyncSpy.remote()]
    return [facts(), *ray.get([ray.remote(facts).remote(), *(spy.look.remote() for spy in spies)])]


@program(expected=[[], ["CPU", "widget"], ["widget"], ["CPU"], ["CPU"], []])
def what_an_actor_holds(ray: Any) -> Any:
    class Spy:
        def look(self, module: str) -> list[str]:
            context = importlib.import_module(module).get_runtime_context()
            return sorted(context.get_assigned_resources())

    spy = ray.remote(Spy)
    spies = [
        spy.remote(),
        spy.options(resources={"widget": 1}).remote(),
        spy.options(num_cpus=0, resources={"widget": 1}).remote(),
        spy.options(num_cpus=1).remote(),
        spy.options(num_gpus=0).remote(),
        spy.options(name="holds nothing").remote(),
    ]
    return ray.get([each.look.remote(ray.__name__) for each in spies])


@program(
    expected=(
        (28, 56, 28, False, True, True),
        (2, 4, [0, 2], "ValueError"),
        [4, 16, 24, 28, 18],
        [True] * 5,
        7,
    )
)
def references_and_ids(ray: Any) -> Any:
    @ray.remote
    def double(x: int) -> int:
        if x < 0:
            raise ValueError(x)
        return 2 * x

    ref = double.remote(1)
    job = ray.get_runtime_context().get_job_id()
    facts = (
        len(ref.binary()),
        len(ref.hex()),
        ref.size(),
        ref.is_nil(),
        ref.task_id().job_id().hex() == job == ref.job_id().hex(),
        isinstance(ref.owner_address(), bytes) and ref.call_site() == "",
    )

    async def awaited() -> Any:
        try:
            await double.remote(-1)
        except ValueError as error:
            seen = type(error.cause).__name__
        both = await asyncio.gather(double.remote(0), double.remote(1))
        return await ref, await double.remote(2).as_future(), both, seen

    kinds = [ray.JobID, ray.ActorID, ray.TaskID, ray.NodeID, ray.PlacementGroupID]
    ids = [kind(b"\1" * kind.size()) for kind in kinds]
    return (
        facts,
        asyncio.run(awaited()),
        [kind.size() for kind in kinds],
        [
            type(one).from_hex(one.hex()) == one == pickle.loads(pickle.dumps(one))
            and type(one).nil().is_nil()
            and one != 5
            for one in ids
        ],
        ray.JobID.from_int(7).int(),
    )
