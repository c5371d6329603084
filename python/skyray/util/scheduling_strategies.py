# SPDX-License-Identifier: Apache-2.0
"""Where tasks and actors may run, beyond "DEFAULT" and "SPREAD"."""

from __future__ import annotations

from typing import Any

from .._core import NodeID
from .._labels import Selector

__all__ = [
    "DoesNotExist",
    "Exists",
    "In",
    "NodeAffinitySchedulingStrategy",
    "NodeLabelSchedulingStrategy",
    "NotIn",
]


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


class In:
    """The node's label has one of these values.

    Raises:
        ValueError: no value, or one that is not a str.
    """

    _operator = "in"

    def __init__(self, *values: str) -> None:
        _check_values(type(self).__name__, values)
        self.values = list(values)


class NotIn(In):
    """The node's label has none of these values, or the node has no such label.

    Raises:
        ValueError: no value, or one that is not a str.
    """

    _operator = "not_in"


class Exists:
    """The node has such a label."""

    _operator = "exists"
    values: list[str] = []  # noqa: RUF012  # Of all of them alike.


class DoesNotExist(Exists):
    """The node has no such label."""

    _operator = "missing"


_Labels = dict[str, Any]  # Each value one of the above.


class NodeLabelSchedulingStrategy:
    """On a node with the given labels.

    Args:
        hard: by the label's name, what it must be: ``{"zone": In("a", "b")}``.
        soft: what it had better be, too, where there is a choice.

    Raises:
        ValueError: something else than that, or both are empty.
    """

    def __init__(self, hard: _Labels, *, soft: _Labels | None = None) -> None:
        self.hard = _terms(hard, "hard")
        self.soft = _terms(soft, "soft")
        if not self.hard and not self.soft:
            raise ValueError(
                "The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be "
                "empty."
            )

    def _scheduling(self) -> tuple[str, bytes, bool]:
        return "DEFAULT", b"", False

    def _selectors(self) -> list[Selector]:
        return [self.hard + self.soft, self.hard] if self.soft else [self.hard]


def _check_values(operator: str, values: tuple[Any, ...]) -> None:
    example = f'{operator}("value1", "value2")'
    if not values:
        raise ValueError(
            f"The variadic parameter of the {operator} operator must be a non-empty tuple: "
            f"e.g. {example}."
        )
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(
                f"Type of value in position {position} for the {operator} operator must be str "
                f"(e.g. {example}) but got {value} of type {type(value)}."
            )


def _terms(labels: Any, name: str) -> Selector:
    if labels is None:
        return []
    example = '(e.g. {"key1": In("value1")})'
    if not isinstance(labels, dict):
        raise ValueError(
            f"The {name} parameter must be a map {example} but got type {type(labels)}."
        )
    for key, value in labels.items():
        if not isinstance(key, str):
            raise ValueError(
                f"The map key of the {name} parameter must be of type str {example} but got {key} "
                f"of type {type(key)}."
            )
        if not isinstance(value, (In, Exists)):
            raise ValueError(
                f"The map value for key {key} of the {name} parameter must be one of the `In`, "
                f"`NotIn`, `Exists` or `DoesNotExist` operator {example} but got {value} of type "
                f"{type(value)}."
            )
    return [(key, value._operator, value.values) for key, value in labels.items()]
