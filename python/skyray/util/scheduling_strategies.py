# SPDX-License-Identifier: Apache-2.0
"""Where tasks and actors may run, beyond "DEFAULT" and "SPREAD"."""

from __future__ import annotations

from .._core import NodeID

__all__ = ["NodeAffinitySchedulingStrategy"]


class NodeAffinitySchedulingStrategy:
    """On the given node.

    Args:
        node_id: in hex, as ``nodes()`` and ``get_runtime_context().get_node_id()``
            show it.
        soft: whether another node will do when that one is gone or cannot.

    Raises:
        ValueError: ``node_id`` is not the id of a node.
    """

    def __init__(self, node_id: str, soft: bool) -> None:
        self.node_id = node_id
        self.soft = soft
        try:
            self._node = NodeID.from_hex(node_id).binary()
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Invalid node_id {node_id!r}: {NodeID.size() * 2} hexadecimal digits are wanted."
            ) from error

    def _scheduling(self) -> tuple[str, bytes, bool]:
        return "NODE_AFFINITY", self._node, self.soft
