# SPDX-License-Identifier: Apache-2.0
"""References to values that exist somewhere in the cluster, or will."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar

from . import _core

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    from collections.abc import Generator

__all__ = ["ObjectRef"]

T_co = TypeVar("T_co", covariant=True)


class ObjectRef(_core.ObjectRef, Generic[T_co]):
    """A promise of a ``T``, made by ``.remote()`` and ``put()``.

    The value lives as long as somebody holds a reference to it. References are
    equal if they are to the same object; they can be pickled into arguments,
    return values and ``put()``, and awaited.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    @staticmethod
    def size() -> int:
        """Of an id, in bytes."""
        return _core.ObjectID.size()

    def owner_address(self) -> bytes:
        """Who owns the value: the id of that process."""
        return self.owner_worker_id()

    def call_site(self) -> str:
        """Where it was made; not recorded: ""."""
        return ""

    def tensor_transport(self) -> str | None:
        """How tensors in the value travel: None, as all else does."""
        return None

    def future(self) -> concurrent.futures.Future[T_co]:
        """A future of the value, for code that waits in its own way.

        Its callbacks run in a thread of the runtime: they must not block. ``shutdown`` ends
        it with ``RaySystemError`` if the value is not there by then.
        """
        import concurrent.futures

        future: concurrent.futures.Future[T_co] = concurrent.futures.Future()

        def finish(ref: _core.ObjectRef) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                # Does not wait: the object is ready. Pulls and unpickles the value.
                future.set_result(_core.get(ref, None))
            except BaseException as error:
                future.set_exception(error)

        def end() -> None:
            if future.set_running_or_notify_cancel():
                future.set_exception(shut_down_error())

        self.on_ready(finish, end)
        return future

    def as_future(self) -> asyncio.Future[T_co]:
        """A future of the running event loop.

        Raises:
            RuntimeError: no event loop is running.
        """
        import asyncio

        return asyncio.wrap_future(self.future(), loop=asyncio.get_running_loop())

    def __await__(self) -> Generator[Any, None, T_co]:
        return self.as_future().__await__()

    def _on_completed(self, callback: Callable[[Any], None]) -> None:
        """Calls ``callback`` with the value, or with the exception there is instead."""

        def finish(ref: _core.ObjectRef) -> None:
            try:
                value = _core.get(ref, None)
            except BaseException as error:
                value = error
            callback(value)

        self.on_ready(finish, lambda: callback(shut_down_error()))


def shut_down_error() -> BaseException:
    """For who waits for a value in a session that has ended."""
    from .exceptions import RaySystemError

    return RaySystemError("skyray was shut down meanwhile")


_core.set_object_ref_type(ObjectRef)
