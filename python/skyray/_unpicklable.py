# SPDX-License-Identifier: Apache-2.0
"""Finds what in a value cannot be pickled, and how one gets there."""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from ._serialization import dumps

_DEPTH_MAX = 12
_CHILDREN_MAX = 1000


class Finding(NamedTuple):
    """A value that cannot be pickled, though all that it consists of can.

    Attributes:
        value: itself.
        path: how one gets to it, as one would write it.
        names: how each on the way calls the next.
        parent: what holds it.
        reason: what pickle says.
    """

    value: Any
    path: str
    names: tuple[str, ...]
    parent: Any
    reason: str


def why_not(value: Any) -> str | None:
    """Why ``value`` cannot be pickled; None if it can."""
    try:
        dumps(value, buffer_callback=lambda _: None)
    except Exception as error:
        return f"{error}" or type(error).__name__
    return None


def find(value: Any, name: str, depth_max: int = _DEPTH_MAX) -> list[Finding]:
    """The innermost parts of ``value`` that cannot be pickled.

    Args:
        value: what is looked into.
        name: how to call it; paths begin with it.
        depth_max: how deep to look.

    Returns:
        An empty list if ``value`` can be pickled.
    """
    reason = why_not(value)
    if reason is None:
        return []
    found = _Search().below(value, name, (), depth_max)
    return found or [Finding(value, name, (), None, reason)]


class _Search:
    """One walk through a value."""

    def __init__(self) -> None:
        self._above: set[int] = set()  # What the walk is inside of.
        self._blamed: set[int] = set()

    def below(
        self, parent: Any, path: str, names: tuple[str, ...], depth: int
    ) -> list[Finding] | None:
        """What is to blame for ``parent``, unless that is known; None: it is itself."""
        found: list[Finding] | None = None
        if depth == 0:
            return found
        self._above.add(id(parent))
        for step, name, child in itertools.islice(_children(parent), _CHILDREN_MAX):
            if id(child) in self._above:
                continue
            if id(child) in self._blamed:
                found = found or []
                continue
            reason = why_not(child)
            if reason is None:
                continue
            self._blamed.add(id(child))
            here = (path + step, (*names, name))
            deeper = self.below(child, *here, depth - 1)
            if deeper is None:
                deeper = [Finding(child, *here, parent, reason)]
            found = (found or []) + deeper
        self._above.discard(id(parent))
        return found


def _children(value: Any) -> Iterator[tuple[str, str, Any]]:
    """What pickling ``value`` also pickles: (how it is reached, its name, itself)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"[{_short(key)}]", _short(key), item
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield f"[{index}]", f"[{index}]", item
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield f".<element {_short(item)}>", _short(item), item
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", "__self__", value.__self__
        yield ".__func__", "__func__", value.__func__
    elif isinstance(value, type):
        for key, item in vars(value).items():
            if isinstance(item, (staticmethod, classmethod)):
                item = item.__func__
            if not isinstance(item, (types.GetSetDescriptorType, types.MemberDescriptorType)):
                yield f".{key}", key, item
    else:
        yield from _of_instance(value)


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        try:
            yield f" -> closure variable {name!r}", name, cell.cell_contents
        except ValueError:
            continue  # Not assigned yet.
    for name in _names(code):
        if name in function.__globals__:
            yield f" -> global variable {name!r}", name, function.__globals__[name]
    for index, default in enumerate(function.__defaults__ or ()):
        yield f" -> default value {index}", f"default {index}", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f" -> default value of {name!r}", name, default
    for name, item in vars(function).items():
        yield f".{name}", name, item


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _of_instance(value: Any) -> Iterator[tuple[str, str, Any]]:
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:
        reduced = None
    state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
    parts = state if isinstance(state, tuple) else (state,)
    attributes = [part for part in parts if isinstance(part, dict)]
    if not attributes and hasattr(value, "__dict__"):
        attributes = [vars(value)]
    for names in attributes:
        for key, item in names.items():
            yield f".{key}", str(key), item
    if isinstance(reduced, tuple) and len(reduced) > 1 and isinstance(reduced[1], tuple):
        for index, item in enumerate(reduced[1]):
            yield f" -> constructor argument {index}", f"argument {index}", item


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."


def sentence(value: Any, what: str, error: Exception) -> str:
    """What a person needs to know about ``error`` from pickling ``value``.

    Args:
        value: what was to be pickled.
        what: how to call it, such as "the put value".
        error: what pickle raised.
    """
    lines = [f"Could not serialize {what} {_short(value)}: {error}"]
    findings = find(value, "value")
    for finding in findings[:3]:
        if finding.parent is not None:
            kind = type(finding.value)
            lines.append(
                f"  at {finding.path}: a {kind.__module__}.{kind.__qualname__} "
                f"({_short(finding.value)}): {finding.reason}"
            )
    lines.append(
        "Create it where it is used (inside the task or in the actor's __init__), or give its "
        "class a __reduce__ or __getstate__ that leaves it out. "
        "skyray.util.inspect_serializability(value) shows more."
    )
    return "\n".join(lines)
