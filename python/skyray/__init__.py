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
    timeline,
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
    "LoggingConfig",
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
    "cloudpickle",
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
    "timeline",
    "util",
    "wait",
]


if TYPE_CHECKING:
    from . import cloudpickle, util
    from .logging_config import LoggingConfig


def __getattr__(name: str) -> object:
    import importlib

    # On first use: most programs do without.
    if name in ("cloudpickle", "util"):
        return importlib.import_module(f".{name}", __name__)
    if name == "logger":
        return importlib.import_module("logging").getLogger(__name__)
    if name == "LoggingConfig":
        return importlib.import_module(".logging_config", __name__).LoggingConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
