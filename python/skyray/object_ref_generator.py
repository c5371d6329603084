# SPDX-License-Identifier: Apache-2.0
"""What a generator task returns: an iterator of references to the values it yields."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from . import _core
from .object_ref import ObjectRef, shut_down_error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DynamicObjectRefGenerator", "ObjectRefGenerator"]

T_co = TypeVar("T_co", covariant=True)


class ObjectRefGenerator(_core.ObjectStream, Generic[T_co]):
    """The values that a task yields, each a reference that is there as soon as it was yielded.

    Iterate over it, or ``async for``; it can be given to ``wait()``, but not to another task.
    If the task fails, the last reference raises its error. Dropping the generator frees the
    values that were not taken; the task runs on.

    Methods:
        next_ready(): whether ``next()`` would return an item at once.
        is_finished(): whether all items have been taken and no more will come.
        completed(): a reference that is ready when the task has ended. What its code
            raised is the last item's to tell; this raises if the task failed otherwise.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __iter__(self) -> ObjectRefGenerator[T_co]: ...
        def __next__(self) -> ObjectRef[T_co]: ...

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self.completed().hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "Serialization of 'ObjectRefGenerator' is not allowed: an ObjectRefGenerator can only "
            "be used in the process that called the generator. Pass on its items."
        )

    def __aiter__(self) -> ObjectRefGenerator[T_co]:
        return self

    async def __anext__(self) -> ObjectRef[T_co]:
        while not self.next_ready():
            if self.is_finished():
                raise StopAsyncIteration
            await _readiness(self.peek())
        return next(self)

    def send(self, value: Any) -> NoReturn:
        raise NotImplementedError("`gen.send` is not supported.")

    def throw(self, value: Any) -> NoReturn:
        raise NotImplementedError("`gen.throw` is not supported.")

    def close(self) -> NoReturn:
        raise NotImplementedError("`gen.close` is not supported.")

    async def asend(self, value: Any) -> NoReturn:
        raise NotImplementedError("`gen.asend` is not supported.")

    async def athrow(self, value: Any) -> NoReturn:
        raise NotImplementedError("`gen.athrow` is not supported.")

    async def aclose(self) -> NoReturn:
        raise NotImplementedError("`gen.aclose` is not supported.")


class DynamicObjectRefGenerator(Generic[T_co]):
    """The value of a task with ``num_returns="dynamic"``: references to all it has yielded.

    Args:
        refs: in the order in which they were yielded.
    """

    def __init__(self, refs: list[ObjectRef[T_co]]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[ObjectRef[T_co]]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)


async def _readiness(ref: _core.ObjectRef) -> None:
    """Waits for the object, whatever it is."""
    import asyncio

    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def finish() -> None:
        if not ready.done():
            ready.set_result(None)

    def fail() -> None:
        if not ready.done():
            ready.set_exception(shut_down_error())

    def tell(_: _core.ObjectRef) -> None:
        loop.call_soon_threadsafe(finish)

    def end() -> None:
        with contextlib.suppress(RuntimeError):  # The loop has ended before.
            loop.call_soon_threadsafe(fail)

    ref.on_ready(tell, end)
    await ready


_core.set_object_stream_type(ObjectRefGenerator)
