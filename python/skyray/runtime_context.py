# SPDX-License-Identifier: Apache-2.0
"""Where the code that asks is running."""

from __future__ import annotations

import os
import sys
from typing import Any

from . import _core
from ._lifecycle import ensure_connected
from .actor import ActorHandle, own_handle
from .runtime_env import RuntimeEnv, merge

# Kinds of devices that programs may ask for; those of which this version knows no
# node that has them are never assigned.
_ACCELERATORS = (
    "GPU", "TPU", "neuron_cores", "HPU", "NPU", "RBLN", "MBLT", "FURIOSA", "TTNPU",
)  # fmt: skip

__all__ = ["RuntimeContext", "get_runtime_context"]


def _hex_or_none(binary: bytes) -> str | None:
    """None for a nil id, which is all ones."""
    return binary.hex() if binary.strip(b"\xff") else None


def _place(code: Any) -> str:
    """Of a function or class: its module and name there, without the functions around it."""
    name = getattr(code, "__qualname__", "") or type(code).__qualname__
    module = getattr(code, "__module__", None)
    if module == "__main__":
        module = ensure_connected().main_module  # The driver's, not this process's.
    return f"{module}.{name.rpartition('<locals>.')[2]}"


class RuntimeContext:
    """Facts about this process, the task it runs, its job and its node.

    Ids are in hex. What does not apply, such as a task's id at a driver, is None.
    """

    def get_job_id(self) -> str:
        return _core.context()["job_id"].hex()

    def get_node_id(self) -> str:
        return _core.context()["node_id"].hex()

    def get_worker_id(self) -> str:
        return _core.context()["worker_id"].hex()

    def get_task_id(self) -> str | None:
        return _hex_or_none(_core.context()["task_id"]) if self._in_worker() else None

    def get_task_name(self) -> str | None:
        return _core.context()["task_name"] if self._in_worker() else None

    def get_task_function_name(self) -> str | None:
        """Of what runs, by module and qualified name, whatever the task is called."""
        context = _core.context()
        if not self._in_worker():
            return None
        method, function = context["method"], context["function"]
        if method or context["actor_id"].strip(b"\xff"):
            cls = ensure_connected().hooks.actor_class
            return f"{_place(cls)}.{method or '__init__'}"
        return _place(function) if function is not None else self.get_task_name()

    def get_actor_id(self) -> str | None:
        return _hex_or_none(_core.context()["actor_id"])

    def get_actor_name(self) -> str | None:
        actor_id = self.get_actor_id()
        if actor_id is None:
            return None
        for actor in _core.list_actors(True, "", False):
            if actor["actor_id"].hex() == actor_id:
                return str(actor["name"])
        return None

    def get_placement_group_id(self) -> str | None:
        """None: this version has no placement groups."""
        return None

    def get_assigned_resources(self) -> dict[str, float]:
        """What was granted to this task or actor.

        Raises:
            AssertionError: called at a driver.
        """
        self._check_in_worker()
        return dict(_core.context()["resources"])

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """The devices that this task or actor may use, by kind."""
        return {**{kind: [] for kind in _ACCELERATORS}, "GPU": list(_core.context()["gpu_ids"])}

    def get_resource_ids(self) -> dict[str, list[str]]:
        """As :meth:`get_accelerator_ids`, which is the newer name."""
        return self.get_accelerator_ids()

    def get_node_labels(self) -> dict[str, str]:
        own = _core.context()["node_id"]
        return next((dict(n["labels"]) for n in _core.nodes() if n["node_id"] == own), {})

    def get_session_dir(self) -> str:
        """The session's directory."""
        return ensure_connected().info["session_dir"]

    def get_session_name(self) -> str:
        """Of this run of the cluster."""
        return os.path.basename(self.get_session_dir())

    def get_temp_dir(self) -> str:
        """In which the sessions' directories are."""
        return os.path.dirname(self.get_session_dir())

    def is_canceled(self) -> bool:
        """Whether ``cancel`` was called for the task or actor call that asks.

        A method that runs on a thread is not interrupted: it may look here now and then.

        Raises:
            RuntimeError: called at a driver, or in an async actor, where cancelling
                is asyncio's.
        """
        if not self._in_worker():
            raise RuntimeError("This method is only available when the process is a worker.")
        if "asyncio" in sys.modules and sys.modules["asyncio"]._get_running_loop() is not None:
            raise RuntimeError("This method is not supported in an async actor.")
        return _core.is_cancelled()

    def get_runtime_env_string(self) -> str:
        """:attr:`runtime_env` as JSON."""
        return self.runtime_env.serialize()

    @property
    def runtime_env(self) -> RuntimeEnv:
        """In which this task or actor runs; at a driver, its job."""
        return merge(ensure_connected().runtime_env, None)

    @property
    def namespace(self) -> str:
        """In which names of actors are looked up."""
        return ensure_connected().namespace

    @property
    def gcs_address(self) -> str:
        return ensure_connected().info["gcs_address"]

    @property
    def current_actor(self) -> ActorHandle:
        """A handle of the actor that asks.

        Raises:
            RuntimeError: not called in an actor.
        """
        return own_handle()

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor that asks has been restarted.

        Raises:
            AssertionError: called at a driver.
            RuntimeError: called in a task.
        """
        self._check_in_worker()
        if self.get_actor_id() is None:
            raise RuntimeError("This method is only available in an actor.")
        return _core.context()["restarts"] > 0

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """False: this version has no placement groups."""
        return False

    @property
    def job_id(self) -> _core.JobID:
        """:meth:`get_job_id` as an id."""
        return _core.JobID(_core.context()["job_id"])

    @property
    def node_id(self) -> _core.NodeID:
        """:meth:`get_node_id` as an id."""
        return _core.NodeID(_core.context()["node_id"])

    @property
    def task_id(self) -> _core.TaskID:
        """:meth:`get_task_id` as an id.

        Raises:
            AssertionError: called at a driver.
        """
        self._check_in_worker()
        return _core.TaskID(_core.context()["task_id"])

    @property
    def actor_id(self) -> _core.ActorID | None:
        """:meth:`get_actor_id` as an id.

        Raises:
            AssertionError: called at a driver.
        """
        self._check_in_worker()
        actor_id = _core.ActorID(_core.context()["actor_id"])
        return None if actor_id.is_nil() else actor_id

    @property
    def current_placement_group_id(self) -> _core.PlacementGroupID:
        """Nil: this version has no placement groups."""
        return _core.PlacementGroupID.nil()

    def get(self) -> dict[str, Any]:
        """The most asked-for of these facts, by name; ids are not in hex."""
        facts: dict[str, Any] = {
            "job_id": self.job_id,
            "node_id": self.node_id,
            "namespace": self.namespace,
        }
        if self._in_worker():
            facts["task_id"] = self.task_id
            if self.actor_id is not None:
                facts["actor_id"] = self.actor_id
        return facts

    def _check_in_worker(self) -> None:
        if not self._in_worker():
            raise AssertionError("This method is only available when the process is a worker.")

    def _in_worker(self) -> bool:
        return ensure_connected().is_worker


def get_runtime_context() -> RuntimeContext:
    """Facts about the code that calls this. Starts a cluster if there is none."""
    ensure_connected()
    return RuntimeContext()
