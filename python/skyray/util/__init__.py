# SPDX-License-Identifier: Apache-2.0
"""Tools around the core calls."""

from __future__ import annotations

from typing import Any

from .._lifecycle import ensure_connected
from .actor_pool import ActorPool
from .check_serialize import inspect_serializability
from .completion import as_completed, map_unordered
from .debug import disable_log_once_globally, enable_periodic_logging, log_once
from .serialization import deregister_serializer, register_serializer

__all__ = [
    "ActorPool",
    "as_completed",
    "deregister_serializer",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_node_instance_id",
    "get_node_ip_address",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "register_serializer",
]

INSTANCE_ID_VARIABLE = "SKYRAY_CLOUD_INSTANCE_ID"


def get_node_ip_address(address: str | None = None) -> str:
    """The address of this machine, as other machines would reach it.

    Args:
        address: ``host:port``; the address of the interface by which that host is
            reached. None: any other host.
    """
    from .._machine import node_ip

    return node_ip(address.rpartition(":")[0].strip("[]")) if address else node_ip()


def get_node_instance_id() -> str:
    """How the cloud calls this machine, if whoever started it said so; else ""."""
    import os

    return os.environ.get(INSTANCE_ID_VARIABLE, "")


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Names of the actors that have one and live.

    Args:
        all_namespaces: all of them, as ``{"name": ..., "namespace": ...}``; else the
            names in this job's namespace.
    """
    from .. import _core

    connection = ensure_connected()
    found = _core.list_actors(all_namespaces, connection.namespace, True)
    if all_namespaces:
        return [{"name": actor["name"], "namespace": actor["namespace"]} for actor in found]
    return [actor["name"] for actor in found]
