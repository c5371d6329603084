# SPDX-License-Identifier: Apache-2.0
"""Tools around the core calls."""

from __future__ import annotations

from typing import Any

from .._lifecycle import ensure_connected
from .actor_pool import ActorPool
from .check_serialize import inspect_serializability

__all__ = [
    "ActorPool",
    "get_node_ip_address",
    "inspect_serializability",
    "list_named_actors",
]


def get_node_ip_address() -> str:
    """The address of this machine, as other machines would reach it."""
    from .._machine import node_ip

    return node_ip()


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
