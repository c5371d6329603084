# SPDX-License-Identifier: Apache-2.0
"""A task's error that is an instance of the user's exception type as well."""

from __future__ import annotations

import types
from typing import Any

from .exceptions import RayTaskError


def dual(error: RayTaskError) -> RayTaskError:
    """``error`` as an instance of a class below RayTaskError and its cause's type."""
    cause = error.cause
    cause_type = type(cause)
    text = RayTaskError.__str__(error)

    def reduce(self: Any) -> Any:
        return _dual_again, error._fields()

    def missing(self: Any, name: str) -> Any:
        return getattr(cause, name)

    name = f"RayTaskError({cause_type.__name__})"
    body: dict[str, Any] = {
        "__module__": RayTaskError.__module__,
        "__qualname__": name,
        "__init__": lambda self, *_: None,
        "__str__": lambda self: text,
        "__repr__": lambda self: f"{name}({cause!r})",
        "__reduce__": reduce,
        "__getattr__": missing,
        "args": property(lambda self: (cause,), lambda self, value: None),
        "as_instanceof_cause": lambda self: self,
    }
    cls = types.new_class(name, (RayTaskError, cause_type), {}, lambda space: space.update(body))
    if hasattr(cause, "exceptions") and hasattr(cause, "derive"):  # An ExceptionGroup.
        arguments: tuple[Any, ...] = (cause.message, cause.exceptions)  # type: ignore[attr-defined]
    else:
        arguments = (cause,)
    instance: Any = cls.__new__(cls, *arguments)
    # What a type written in C or with __slots__ keeps beside __dict__ (errno,
    # filename, ...) would hide the cause's behind an empty one.
    for base in cause_type.__mro__:
        for key, slot in vars(base).items():
            if isinstance(slot, (types.GetSetDescriptorType, types.MemberDescriptorType)) and not (
                key.startswith("__") or key == "args"
            ):
                try:
                    slot.__set__(instance, getattr(cause, key))
                except (AttributeError, TypeError):
                    continue  # Read-only, or never set.
    instance.__dict__.update(vars(error))
    assert isinstance(instance, RayTaskError)
    return instance


def _dual_again(*fields: Any) -> RayTaskError:
    return RayTaskError(*fields).as_instanceof_cause()
