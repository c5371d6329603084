# SPDX-License-Identifier: Apache-2.0
"""A queue that any number of tasks, actors and drivers share."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any

from ..actor import ActorClass, ActorHandle
from ..api import get, kill, wait

__all__ = ["Empty", "Full", "Queue"]

# Each that waits is a call in progress: with the usual 1000 of them the one that
# brings what they wait for would have to wait, too.
_WAITING_MAX = 100_000


class Empty(queue.Empty):
    """There is nothing in the queue."""


class Full(queue.Full):
    """There is no room in the queue."""


class Queue:
    """First in, first out; it lives in an actor of its own.

    Can be passed to tasks and actors. A process that waits for an item or for room
    waits for the actor's answer, and costs nothing meanwhile.

    Args:
        maxsize: how many items it may hold. 0 or less: any number.
        actor_options: of that actor, as for ``ActorClass.options``.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        options = {"max_concurrency": _WAITING_MAX, **(actor_options or {})}
        self.actor: ActorHandle = ActorClass(_QueueActor, {}).options(**options).remote(maxsize)

    def __len__(self) -> int:
        return self.qsize()

    def qsize(self) -> int:
        """How many items there are."""
        size: int = get(self.actor.qsize.remote())
        return size

    def size(self) -> int:
        """How many items there are."""
        return self.qsize()

    def empty(self) -> bool:
        """Whether there are none."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether there is no room for another."""
        return 0 < self.maxsize <= self.qsize()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item; waits for room if need be.

        Args:
            item: an ObjectRef is replaced by its value, as in any call.
            block: whether to wait.
            timeout: how long, in seconds. None: for ever.

        Raises:
            Full: there is no room, or was none in time.
            ValueError: ``timeout`` is negative.
        """
        if not get(self._put(item, block, timeout)):
            raise Full

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """:meth:`put`, awaited."""
        if not await self._put(item, block, timeout):
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Takes the oldest item; waits for one if need be.

        Who of several that wait gets it is not said.

        Args:
            block: whether to wait.
            timeout: how long, in seconds. None: for ever.

        Raises:
            Empty: there is none, or was none in time.
            ValueError: ``timeout`` is negative.
        """
        return _only(get(self._get(block, timeout)))

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """:meth:`get`, awaited."""
        return _only(await self._get(block, timeout))

    def put_nowait(self, item: Any) -> None:
        """``put(item, block=False)``."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Adds all items, in order, or none of them.

        Raises:
            Full: there is no room for all.
            TypeError: ``items`` is not iterable.
        """
        if not isinstance(items, Iterable):
            raise TypeError(f"Argument 'items' must be an Iterable, got {type(items)}")
        batch = list(items)
        if not get(self.actor.put_batch.remote(batch)):
            raise Full(
                f"Cannot add {len(batch)} items to a queue of maxsize {self.maxsize}: there is "
                "no room for all of them."
            )

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Takes the ``num_items`` oldest items.

        Raises:
            Empty: there are not so many; none is taken.
            TypeError, ValueError: ``num_items`` is not an int, or negative.
        """
        if not isinstance(num_items, int):
            raise TypeError(f"Argument 'num_items' must be an int, got {type(num_items)}")
        if num_items < 0:
            raise ValueError(f"'num_items' must be nonnegative, got {num_items}")
        items: list[Any] | None = get(self.actor.get_batch.remote(num_items))
        if items is None:
            raise Empty(f"Cannot get {num_items} items: there are not so many in the queue.")
        return items

    def shutdown(self, force: bool = False, grace_period_s: float = 5) -> None:
        """Ends the queue's actor; what is in it is lost. The queue is of no use then.

        Args:
            force: at once. Else what was asked of it before is done first.
            grace_period_s: how long to wait for that.
        """
        if self.actor is None:
            return
        done = (
            not force and wait([self.actor.__ray_terminate__.remote()], timeout=grace_period_s)[0]
        )
        if not done:
            kill(self.actor, no_restart=True)
        self.actor = None  # type: ignore[assignment]

    def _put(self, item: Any, block: bool, timeout: float | None) -> Any:
        return self.actor.put.remote(item, _patience(block, timeout))

    def _get(self, block: bool, timeout: float | None) -> Any:
        return self.actor.get.remote(_patience(block, timeout))


def _patience(block: bool, timeout: float | None) -> float | None:
    """Seconds to wait; None: for ever.

    Raises:
        ValueError: there are no such.
    """
    if not block:
        return 0
    if timeout is not None and timeout < 0:
        raise ValueError(f"'timeout' must be a non-negative number, got {timeout}")
    return timeout


def _only(items: list[Any]) -> Any:
    if not items:
        raise Empty
    return items[0]


class _QueueActor:
    """Says in its answers what went wrong: that an item is late is no error here."""

    def __init__(self, maxsize: int) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def qsize(self) -> int:
        return self._queue.qsize()

    async def put(self, item: Any, patience: float | None) -> bool:
        """False if there is no room within ``patience`` seconds."""
        try:
            if patience == 0:
                self._queue.put_nowait(item)
            else:
                await asyncio.wait_for(self._queue.put(item), patience)
        except (asyncio.QueueFull, asyncio.TimeoutError):
            return False
        return True

    async def get(self, patience: float | None) -> list[Any]:
        """The item; nothing if there is none within ``patience`` seconds."""
        try:
            if patience == 0:
                return [self._queue.get_nowait()]
            return [await asyncio.wait_for(self._queue.get(), patience)]
        except (asyncio.QueueEmpty, asyncio.TimeoutError):
            return []

    async def put_batch(self, items: list[Any]) -> bool:
        room = self._queue.maxsize - self._queue.qsize()
        if self._queue.maxsize > 0 and room < len(items):
            return False
        for item in items:
            self._queue.put_nowait(item)
        return True

    async def get_batch(self, count: int) -> list[Any] | None:
        if self._queue.qsize() < count:
            return None
        return [self._queue.get_nowait() for _ in range(count)]
