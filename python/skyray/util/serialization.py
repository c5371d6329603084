# SPDX-License-Identifier: Apache-2.0
"""How instances of a class are to be pickled, where the class itself does not say."""

from __future__ import annotations

from typing import Any, Callable, TypeVar

from .. import _serialization

__all__ = ["deregister_serializer", "register_serializer"]

T = TypeVar("T")


def register_serializer(
    cls: type[T], *, serializer: Callable[[T], Any], deserializer: Callable[[Any], Any]
) -> None:
    """From now on, instances of ``cls`` travel as what ``serializer`` makes of them.

    In this process alone; what it sends can be read by all. Instances of derived
    classes are not meant, nor are those of builtin containers.

    Args:
        cls: a class.
        serializer: makes of an instance something that can be pickled.
        deserializer: makes the instance of that. It travels along, so it must be
            possible to pickle it, too.
    """
    _serialization.registered[cls] = _serialization.reducer_of(serializer, deserializer)


def deregister_serializer(cls: type) -> None:
    """Instances of ``cls`` travel as they would on their own. If they do, nothing happens."""
    _serialization.registered.pop(cls, None)
