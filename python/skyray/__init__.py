# SPDX-License-Identifier: Apache-2.0
"""A distributed runtime for Python: tasks, actors and shared-memory objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import actor, exceptions
from ._core import (
    ActorClassID,
    ActorID,
    ClusterID,
    FunctionID,
    JobID,
    NodeID,
    ObjectID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from ._version import __version__
from .api import (
    SCRIPT_MODE,
    WORKER_MODE,
    available_resources,
    cancel,
    cluster_resources,
    get,
    get_actor,
    get_gpu_ids,
    init,
    is_initialized,
    kill,
    method,
    nodes,
    put,
    remote,
    shutdown,
    wait,
)
from .object_ref import ObjectRef
from .object_ref_generator import DynamicObjectRefGenerator, ObjectRefGenerator
from .runtime_context import get_runtime_context

__all__ = [
    "SCRIPT_MODE",
    "WORKER_MODE",
    "ActorClassID",
    "ActorID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "util",
    "wait",
]


if TYPE_CHECKING:
    from . import util


def __getattr__(name: str) -> object:
    if name == "util":  # On first use: most programs do without.
        import importlib

        return importlib.import_module(".util", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
