# SPDX-License-Identifier: Apache-2.0
"""A task's error that is an instance of the user's exception type as well."""

from __future__ import annotations

import types
import warnings
from typing import Any

from .exceptions import RayError, RayTaskError


def dual_or_itself(error: RayTaskError) -> RayTaskError:
    """:func:`dual`; if that cannot be, ``error`` itself, and a warning."""
    try:
        return dual(error)
    except Exception as failure:
        warnings.warn(
            f"{type(error.cause)!r} cannot be combined with RayTaskError ({failure}), so "
            "`except` for that type does not see this error. Catch RayTaskError and look at "
            "its `.cause`.",
            RuntimeWarning,
            stacklevel=3,
        )
        return error


def dual(error: RayTaskError) -> RayTaskError:
    """``error`` as an instance of a class below RayTaskError and its cause's type."""
    cause = error.cause
    cause_type = type(cause)
    text = RayTaskError.__str__(error)

    def reduce(self: Any) -> Any:
        return portable(error, is_dual=True)

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
        "make_dual_exception_instance": lambda self: self,
    }
    cls = types.new_class(name, (RayTaskError, cause_type), {}, lambda space: space.update(body))
    if hasattr(cause, "exceptions") and hasattr(cause, "derive"):  # An ExceptionGroup.
        arguments: tuple[Any, ...] = (cause.message, cause.exceptions)  # type: ignore[attr-defined]
    else:
        arguments = (cause,)
    instance = _new(cls, cause_type, arguments)
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


def _new(cls: Any, cause_type: type[BaseException], arguments: tuple[Any, ...]) -> Any:
    """An instance without a call of a constructor.

    Which of the bases' ``__new__`` does it, depends on what C keeps in an instance.
    """
    for new in (cls.__new__, cause_type.__new__):
        try:
            return new(cls, *arguments)
        except TypeError:
            continue
    return BaseException.__new__(cls, *arguments)


def portable(error: RayTaskError, *, is_dual: bool) -> Any:
    """What pickle wants to know of a task's error, whatever its cause consists of."""
    from ._serialization import dump_cause

    name, trace, cause, *rest = error._fields()
    return _again, ((name, trace, *rest), dump_cause(cause, trace), is_dual)


def _again(fields: tuple[Any, ...], cause: bytes, is_dual: bool) -> RayTaskError:
    from ._serialization import load_cause

    name, trace, *rest = fields
    error = RayTaskError(name, trace, load_cause(cause), *rest)
    return error.as_instanceof_cause() if is_dual else error


def error_from_bytes(data: bytes) -> RayError:
    """The error that ``to_bytes`` was called on.

    Raises:
        TypeError: these are the bytes of something else.
    """
    from ._serialization import load_cause

    error = load_cause(data)
    if not isinstance(error, RayError):
        raise TypeError(f"These are the bytes of a {type(error)}, not of a RayError")
    return error
