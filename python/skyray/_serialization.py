# SPDX-License-Identifier: Apache-2.0
"""Values to bytes and back: pickle 5 with the large buffers beside the pickle.

The core takes the plainest values itself; all others come here. One pickler, in C
with cloudpickle's rules on top, serves them all: plain pickle of an instance whose
class is in ``__main__`` would succeed here and fail at the worker.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import sys
import types
from typing import Any, Callable, ClassVar

import cloudpickle

from . import _core
from .exceptions import (
    ActorDiedError,
    RayError,
    RaySystemError,
    RayTaskError,
    TaskCancelledError,
    UnserializableException,
)

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PICKLER_FILE = cloudpickle.Pickler.dump.__code__.co_filename
_CREATION_SUFFIX = ".__init__"
_REMEMBERED_MAX = 10_000
# Ahead of a task's error because of which an actor was not made, with the actor's id in hex.
_OF_CREATION = b"C"
_PICKLE_BEGINS = 33


def _torch_reducers() -> dict[type, Callable[[Any], Any]] | None:
    from ._tensors import reducers

    return reducers()


def _arrow_reducers() -> dict[type, Callable[[Any], Any]] | None:
    from ._tables import reducers

    return reducers()


# What skyray.util.register_serializer was told: class -> what pickle calls a reducer.
registered: dict[type, Callable[[Any], Any]] = {}
# The same for types of libraries that this process has imported.
_of_libraries: dict[type, Callable[[Any], Any]] = {}
# Those that it has not: name -> what knows their types once it has. Nothing here imports them.
_unknown = {"torch": _torch_reducers, "pyarrow": _arrow_reducers}


def reducer_of(
    serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    return lambda value: (deserializer, (serializer(value),))


class _CodePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Cloudpickle's, with the registered serializers ahead of its own rules."""

    dispatch_table: ClassVar[Any] = collections.ChainMap(
        registered, _of_libraries, *cloudpickle.Pickler.dispatch_table.maps
    )


class _Pickler(_CodePickler):
    """Remembers what other processes can import: cloudpickle would look it up each time."""

    _importable: ClassVar[set[Any]] = set()

    def _reduce(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is types.FunctionType or kind is type:
            if obj in self._importable:
                return NotImplemented
            reduced = super().reducer_override(obj)
            if reduced is NotImplemented and len(self._importable) < _REMEMBERED_MAX:
                self._importable.add(obj)
            return reduced
        return super().reducer_override(obj)

    # In C for all but classes and functions: values may hold tens of thousands of references.
    reducer_override = _core.Reducer(_reduce)


def serialize(value: Any) -> tuple[bytes, list[Any]]:
    """``value`` as a pickle and the buffers that it refers to, in order.

    Raises:
        TypeError, pickle.PicklingError: something in it cannot be pickled; the
            message says what, how one gets to it from ``value``, and what to do.
    """
    buffers: list[Any] = []
    for library in _unknown:
        if library in sys.modules:
            _learn_libraries()
            break
    with io.BytesIO() as file:
        try:
            _Pickler(file, 5, buffer_callback=buffers.append).dump(value)
        except (TypeError, pickle.PicklingError) as error:
            raise _explained(value, "the value", error) from _worth_showing(error)
        return file.getvalue(), buffers


def _learn_libraries() -> None:
    """Has the types of what has been imported since pickled as is best for them."""
    global _unknown
    for library in [name for name in _unknown if name in sys.modules]:
        found = _unknown[library]()
        if found is not None:
            _of_libraries.update(found)
            # Anew: another thread may be going through it.
            _unknown = {name: own for name, own in _unknown.items() if name != library}


def dump_code(code: Any, name: str) -> bytes:
    """A function or class as bytes, whole if it is from ``__main__`` or the like.

    Raises:
        TypeError, pickle.PicklingError: as :func:`serialize`.
    """
    try:
        return dumps(code)
    except (TypeError, pickle.PicklingError) as error:
        what = f"the function or class {name}"
        raise _explained(code, what, error) from _worth_showing(error)


def dumps(
    value: Any,
    buffer_callback: Callable[[Any], Any] | None = None,
    pickler: type[cloudpickle.Pickler] = _CodePickler,
) -> bytes:
    """``value`` as one pickle, functions and classes from ``__main__`` whole."""
    with io.BytesIO() as file:
        pickler(file, 5, buffer_callback=buffer_callback).dump(value)
        return file.getvalue()


def load_code(blob: bytes) -> Any:
    return pickle.loads(blob)


def load_failed(error: Exception) -> BaseException:
    """What to raise where ``error`` keeps a value from being unpickled."""
    import traceback

    what = "".join(traceback.format_exception_only(type(error), error)).strip()
    failure = RaySystemError(f"The value cannot be unpickled: {what}", user_traceback(error))
    failure.__cause__ = error
    return failure


def _explained(value: Any, what: str, error: Exception) -> Exception:
    """A TypeError, or a PicklingError if ``error`` is one."""
    from ._unpicklable import sentence

    cls = pickle.PicklingError if isinstance(error, pickle.PicklingError) else TypeError
    return cls(sentence(value, what, error))


def _worth_showing(error: Exception) -> Exception | None:
    """``error`` if it comes from the user's code (a ``__reduce__``), not from the pickler."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = trace.tb_frame.f_code.co_filename if trace is not None else ""
    return None if where == _PICKLER_FILE or _is_ours(where) else error


def dump_task_error(
    error: BaseException,
    name: str,
    ip: str,
    actor_id: str | None,
    actor_repr: str | None,
    trace: str | None = None,
) -> bytes:
    """User code raised ``error`` in the task or method ``name``.

    Args:
        error: what was raised.
        name: of the function, or ``Class.method``.
        ip: of this node.
        actor_id: hex, in an actor.
        actor_repr: its ``repr``, in an actor.
        trace: its ``user_traceback``, if that is known.
    """
    trace = (user_traceback(error) if trace is None else trace) + _hint(error)
    # A task that failed because another one did is blamed on that one's cause.
    cause = error.cause if isinstance(error, RayTaskError) else error
    if _was_cancelled(error):
        cause = TaskCancelledError()
    fields = (name, trace, None, f"skyray::{name}", os.getpid(), ip, actor_repr, actor_id)
    return pickle.dumps((fields, dump_cause(cause, trace)), protocol=5)


def _was_cancelled(error: BaseException) -> bool:
    """Whether a coroutine on this thread's event loop was; elsewhere that is a class as others."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return False
    return isinstance(error, asyncio.CancelledError)


def _hint(error: BaseException) -> str:
    """What to do about an error that is often met for the first time in a task."""
    if isinstance(error, ValueError) and "read-only" in str(error):
        return (
            "\n(Arrays that come from the object store, as large arguments do, are read-only: "
            "others may be reading them. Change a copy: array = array.copy().)\n"
        )
    return ""


def dump_retry_exceptions(which: bool | list[type] | tuple[type, ...] | None) -> bytes:
    """An allow-list as workers understand it: empty for none, ``*`` for all."""
    if isinstance(which, bool) or not which:
        return b"*" if which else b""
    return dump_code(tuple(which), "retry_exceptions")


def load_task_error(payload: bytes) -> BaseException:
    """The exception for the caller; also of the user's type where that can be."""
    if payload[:1] == _OF_CREATION:
        actor_id, rest = payload[1:_PICKLE_BEGINS].decode(), payload[_PICKLE_BEGINS:]
        cause = load_task_error(rest)
        return ActorDiedError(cause if isinstance(cause, RayTaskError) else str(cause), actor_id)
    (name, trace, _, *rest), cause_bytes = pickle.loads(payload)
    try:
        cause = load_cause(cause_bytes)
    except Exception:
        return UnserializableException(str(RayTaskError(name, trace, RayError(), *rest)))
    error = RayTaskError(name, trace, cause, *rest)
    if name.endswith(_CREATION_SUFFIX):
        return ActorDiedError(error)
    return error.as_instanceof_cause()


def dump_cause(cause: BaseException, trace: str) -> bytes:
    """``cause`` as bytes that can be loaded again, or a RayError in its place."""
    kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
    try:
        blob = dumps(cause)
    except Exception as error:
        text = f"Exception {kind} isn't serializable: {error}.\nOriginal exception:\n{trace}"
        return pickle.dumps(RayError(text), protocol=5)
    try:
        pickle.loads(blob)
    except Exception:
        # A constructor that does not take what BaseException keeps as args. What the
        # exception consists of can travel all the same.
        try:
            return dumps(cause, pickler=_PartsPickler)
        except Exception:
            return blob
    return blob


def load_cause(blob: bytes) -> BaseException:
    cause = pickle.loads(blob)
    assert isinstance(cause, BaseException)
    return cause


class _PartsPickler(_CodePickler):
    """Takes exceptions apart whose constructors are the user's."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if (
            isinstance(obj, BaseException)
            and isinstance(kind.__init__, types.FunctionType)
            and getattr(kind, "__reduce__", None) is BaseException.__reduce__
        ):
            return _rebuild, (kind, obj.args, vars(obj))
        return super().reducer_override(obj)


def _rebuild(
    cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:
    """An exception without a call of its constructor."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def user_traceback(error: BaseException) -> str:
    """As Python prints it, without the frames of the runtime itself."""
    import traceback

    report = traceback.TracebackException(type(error), error, error.__traceback__)
    pending: list[traceback.TracebackException | None] = [report]
    seen = set()
    while pending:
        part = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        kept = [frame for frame in part.stack if not _is_ours(frame.filename)]
        part.stack = traceback.StackSummary.from_list(kept)
        pending += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]
    text = "".join(report.format())
    return text if text.startswith("Traceback ") else f"Traceback (most recent call last):\n{text}"


def _is_ours(filename: str) -> bool:
    return filename.startswith(_PACKAGE)
