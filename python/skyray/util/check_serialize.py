# SPDX-License-Identifier: Apache-2.0
"""Says what in a value cannot be pickled."""

from __future__ import annotations

from typing import Any, TextIO

from .. import _unpicklable

__all__ = ["FailureTuple", "inspect_serializability"]


class FailureTuple:
    """What cannot be pickled.

    Attributes:
        obj: itself.
        path: names of the variables on the way to it.
        parent: what holds it; None if it is what was looked into.
    """

    def __init__(self, obj: Any, path: tuple[str, ...], parent: Any) -> None:
        self.obj = obj
        self.path = path
        self.parent = parent

    @property
    def name(self) -> str:
        """How its parent calls it."""
        return self.path[-1] if self.path else "unknown"

    def __repr__(self) -> str:
        path = " -> ".join(self.path)
        return f"FailTuple({self.name} [path={path}, obj={self.obj!r}, parent={self.parent!r}])"


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Looks for what in ``base_obj`` cannot be pickled, and prints it.

    Args:
        base_obj: what is looked into.
        name: how to call it; if given, paths begin with it.
        depth: how deep to look.
        print_file: where to print. None: stdout.

    Returns:
        Whether it can be pickled; and the innermost parts that cannot.
    """
    start = (name,) if name else ()
    name = name or getattr(base_obj, "__qualname__", None) or repr(base_obj)
    title = f"Checking Serializability of {base_obj!r}"
    print(f"{title}\n{'=' * len(title)}", file=print_file)
    findings = _unpicklable.find(base_obj, name, depth)
    if not findings:
        print("It can be serialized.", file=print_file)
    for finding in findings:
        print(f"At {finding.path}: {finding.value!r}: {finding.reason}", file=print_file)
    failures = {FailureTuple(f.value, start + f.names, f.parent) for f in findings}
    return not findings, failures
