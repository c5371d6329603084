# SPDX-License-Identifier: Apache-2.0
"""Actors that run several calls at once: on an event loop, or on threads.

A worker's main thread is here from the actor's creation to its end. Which calls may
start, and how many at once, the core decides (cpp/src/core_worker/call_queue.h).
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import threading
from collections.abc import Coroutine
from typing import Any

from . import _core, _worker

# What await_work() answers.
_CALLS, _DESCRIPTORS, _EXIT, _CANCELLED, _ROOM = 1, 2, 4, 8, 16
# Plain methods that run in one turn of the loop, before it looks at anything else.
_CALLS_PER_TURN = 64

_call: contextvars.ContextVar[_core.Call] = contextvars.ContextVar("skyray_call")


def run_async_actor(creation: _core.Call) -> None:
    """Runs the actor's ``__init__`` and all its methods on one event loop, until its end.

    Raises:
        SystemExit: the user's code asked for it.
    """
    _Loop().run(creation)


def run_threaded_actor(groups: list[tuple[str, int]]) -> None:
    """Runs the calls of each group on as many threads as it may have, until the end.

    Args:
        groups: name and limit of each.

    Raises:
        SystemExit: the user's code asked for it.
    """
    _Threads(groups).run()


class _Selector(selectors.EpollSelector):
    """Waits in the core: for calls, and for the descriptors of the user's code.

    One wait for both, so that a call reaches the loop without a second thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owner: _Loop | None = None
        _core.watch(self.fileno(), _call)

    def select(self, timeout: float | None = None) -> list[Any]:
        work = _core.await_work(timeout)
        if work & ~_DESCRIPTORS and self.owner is not None:
            self.owner.wake(work)
        # With no time to wait the core has not looked at the descriptors.
        if work & _DESCRIPTORS or (timeout is not None and timeout <= 0):
            return super().select(0)
        return []


class _Loop:
    """The event loop of an async actor."""

    def __init__(self) -> None:
        selector = _Selector()
        self._loop = asyncio.SelectorEventLoop(selector)
        # A task that nobody else refers to may be collected before it is done.
        self._tasks: dict[asyncio.Task[None], tuple[_core.Call, Any]] = {}
        # Generators that their callers have given no room.
        self._paused: set[asyncio.Future[None]] = set()
        self._creating: asyncio.Task[None] | None = None
        selector.owner = self

    def run(self, creation: _core.Call) -> None:
        _worker.warn_of_blocking = True
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._create, creation)
        self._loop.run_forever()

    def _create(self, creation: _core.Call) -> None:
        begun = creation.create()
        if begun is not None:
            self._creating = self._loop.create_task(_await_init(creation, *begun))

    def wake(self, work: int) -> None:
        if work & _EXIT:
            self._loop.stop()
        if work & _CALLS:
            self._loop.call_soon(self._take_calls)
        if work & _ROOM:
            # Each looks for itself whether it is meant.
            for paused in self._paused:
                if not paused.done():
                    paused.set_result(None)
            self._paused.clear()
        if work & _CANCELLED:
            self._cancel()

    def _take_calls(self) -> None:
        for _ in range(_CALLS_PER_TURN):
            call = _core.take_call()
            if call is None:
                return
            coroutine = call.start()
            if coroutine is not None:
                steps = self._stream if call.yields() else _complete
                task = self._loop.create_task(steps(call, coroutine))
                self._tasks[task] = (call, coroutine)
                task.add_done_callback(self._done)

    def _cancel(self) -> None:
        for task, (call, _) in self._tasks.items():
            if call.is_cancelled():
                self._loop.call_soon(task.cancel)

    def _done(self, task: asyncio.Task[None]) -> None:
        call, coroutine = self._tasks.pop(task)
        if task.cancelled():  # Before its first step.
            if asyncio.iscoroutine(coroutine):
                coroutine.close()
            call.fail(asyncio.CancelledError())

    async def _stream(self, call: _core.Call, items: Any) -> None:
        _call.set(call)
        try:
            if hasattr(items, "__aiter__"):
                async for item in items:
                    await self._produce(call, item)
            else:
                for item in items:
                    await self._produce(call, item)
        except _NobodyWantsMore:
            call.finish(None)
        except BaseException as error:
            call.fail(error)
        else:
            call.finish(None)

    async def _produce(self, call: _core.Call, item: Any) -> None:
        try:
            room = call.produce(item)
        except StopIteration:
            raise _NobodyWantsMore from None
        # A generator may never wait for anything itself, and others are to run.
        await asyncio.sleep(0)
        # News of room that came meanwhile are not told again.
        while not (room or call.has_room()):
            paused = self._loop.create_future()
            self._paused.add(paused)
            await paused


class _NobodyWantsMore(Exception):
    """The caller of a generator is gone."""


async def _complete(call: _core.Call, coroutine: Coroutine[Any, Any, Any]) -> None:
    _call.set(call)
    try:
        value = await coroutine
    except BaseException as error:
        call.fail(error)
    else:
        call.finish(value)


async def _await_init(creation: _core.Call, instance: Any, init: Coroutine[Any, Any, None]) -> None:
    try:
        await init
    except BaseException as error:
        creation.created(instance, error)
    else:
        creation.created(instance, None)


class _Threads:
    """The threads of a threaded actor: started when there is work for one more."""

    def __init__(self, groups: list[tuple[str, int]]) -> None:
        self._groups = groups
        self._lock = threading.Lock()
        self._started = [0] * len(groups)
        self._exit: SystemExit | None = None

    def run(self) -> None:
        for index in range(len(self._groups)):
            self._start(index)
        _core.await_exit()
        if self._exit is not None:
            raise self._exit

    def _start(self, index: int) -> None:
        name, limit = self._groups[index]
        with self._lock:
            number = self._started[index]
            if number >= limit:
                return
            self._started[index] = number + 1
        label = f"skyray-{name or 'default'}-{number}"
        threading.Thread(target=self._work, args=(index,), name=label, daemon=True).start()

    def _work(self, index: int) -> None:
        try:
            _core.run_calls(index, lambda: self._start(index))
        except SystemExit as request:
            code = _worker.exit_code_of(request)
            self._exit = SystemExit(code)
            _core.leave_with(code)
