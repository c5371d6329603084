# SPDX-License-Identifier: Apache-2.0
"""A pool of processes, each an actor, that share calls of functions."""

from __future__ import annotations

import itertools
import os
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Callable

from ... import api
from ...actor import ActorClass, ActorHandle
from ...object_ref import ObjectRef
from .results import (
    AsyncResult,
    Call,
    Calls,
    Chunk,
    Failure,
    Listener,
    OrderedIMapIterator,
    UnorderedIMapIterator,
)

__all__ = ["Pool"]

# A map gives each process about so many chunks, so that none is idle for long at the end.
_CHUNKS_PER_PROCESS = 4


class _PoolActor:
    """One process of a pool."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: Iterable[Any]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def run(self, function: Callable[..., Any], calls: Calls) -> list[Any]:
        """What each call returned, or the Failure it ended with."""
        results: list[Any] = []
        for args, kwargs in calls:
            try:
                results.append(function(*args, **kwargs))
            except Exception as error:
                results.append(Failure.of(error))
        return results


class _Process:
    """A process of the pool as the pool sees it.

    Attributes:
        actor: it.
        unfinished: how many chunks it has.
        chunks_left: how many more it may get; None: any number.
    """

    def __init__(self, actor: ActorHandle, chunks_left: int | None) -> None:
        self.actor = actor
        self.unfinished = 0
        self.chunks_left = chunks_left
        self.lock = threading.Lock()

    def submit(self, function: ObjectRef[Any], calls: Calls) -> ObjectRef[list[Any]]:
        with self.lock:
            self.unfinished += 1
        if self.chunks_left is not None:
            self.chunks_left -= 1
        ref: ObjectRef[list[Any]] = self.actor.run.remote(function, calls)
        ref.on_ready(self._finished)
        return ref

    def _finished(self, _: Any) -> None:
        with self.lock:
            self.unfinished -= 1


class Pool:
    """Runs functions in processes of the cluster, as ``multiprocessing.Pool`` does.

    A process that dies fails the calls that it had, and is replaced.

    Args:
        processes: how many. None: as many as the cluster has CPUs, or this machine
            if a cluster is to be started.
        initializer: each process calls ``initializer(*initargs)`` first.
        initargs: see there.
        maxtasksperchild: after so many chunks a process is replaced by a new one.
            None or 0: never.
        context: accepted; there is nothing to choose from.
        ray_address: of the cluster, as for ``init``, if this process is in none yet.
        ray_remote_args: options of the processes' actors.

    Raises:
        ValueError: ``processes`` is below 1, or above the number of the cluster's CPUs.
        TypeError: ``initializer`` cannot be called.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, got {initializer!r}")
        if context is not None:
            warnings.warn("The 'context' argument has no effect on a skyray Pool.", stacklevel=2)
        count = _process_count(processes, ray_address)
        self._initializer = initializer
        self._initargs = initargs or ()
        self._maxtasksperchild = maxtasksperchild or None
        options = {"num_cpus": 0, **(ray_remote_args or {})}
        self._actor_class = ActorClass(_PoolActor, {}).options(**options)
        self._lock = threading.Lock()
        self._turn = itertools.count()
        self._closed = False
        self._listener = Listener(self)
        # They go on submitting until the pool is closed.
        self._iterators: weakref.WeakSet[Any] = weakref.WeakSet()
        self._processes = [self._new_process() for _ in range(count)]
        # The last answers of the processes that are to end.
        self._ending: list[ObjectRef[Any]] = []
        if initializer is not None:
            # What it raises is raised here, and what it does is done when this returns.
            api.get([process.actor.__ray_ready__.remote() for process in self._processes])

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """``func(*args, **kwargs)``, run in one of the processes.

        Raises:
            Exception: what ``func`` raised.
            ValueError: the pool is closed.
        """
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """:meth:`apply` that returns at once.

        Args:
            func, args, kwargs: the call.
            callback: is given the result, in a thread of the pool.
            error_callback: is given the exception instead, if there is one.
        """
        self._check_running()
        call = (tuple(args or ()), dict(kwargs or {}))
        chunk = self._submit(api.put(func), [call])
        return AsyncResult([chunk], self._listener, callback, error_callback, single=True)

    def map(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """``[func(x) for x in iterable]``, spread over the processes.

        Args:
            func, iterable: see above.
            chunksize: how many calls a process is given at a time. None: a good number.

        Raises:
            Exception: the first that ``func`` raised, in the order of ``iterable``.
            ValueError: the pool is closed, or ``chunksize`` is below 1.
        """
        return self.map_async(func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """:meth:`map` that returns at once.

        Args:
            func, iterable, chunksize: of :meth:`map`.
            callback: is given the list of results if there was no error.
            error_callback: is given the first exception, as soon as there is one.
        """
        return self._map(func, _single(iterable), chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """``[func(*x) for x in iterable]``; see :meth:`map`."""
        result = self.starmap_async(func, iterable, chunksize=chunksize)
        return result.get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        chunksize: int | None = None,
    ) -> AsyncResult:
        """:meth:`starmap` that returns at once; see :meth:`map_async`."""
        calls: Iterator[Call] = ((tuple(args), {}) for args in iterable)
        return self._map(func, calls, chunksize, callback, error_callback)

    def imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> OrderedIMapIterator:
        """An iterator over ``func(x)``, in the order of ``iterable``.

        Takes from ``iterable`` what the processes can work on, and more as results
        are taken. An exception is raised in the place of its result; the iterator
        goes on after it. ``next(timeout)`` of the iterator waits for so many seconds.
        """
        start = self._starter(func, iterable, chunksize)
        iterator = OrderedIMapIterator(start, len(self._processes))
        self._iterators.add(iterator)
        return iterator

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> UnorderedIMapIterator:
        """:meth:`imap`, with results as they come."""
        start = self._starter(func, iterable, chunksize)
        iterator = UnorderedIMapIterator(start, len(self._processes))
        self._iterators.add(iterator)
        return iterator

    def close(self) -> None:
        """Takes no more calls. The processes end when they have done those they have."""
        if self._closed:
            return
        for iterator in self._iterators:
            iterator.start_all()
        self._closed = True
        for process in self._processes:
            self._retire(process)

    def terminate(self) -> None:
        """Ends the processes at once; calls that are not done fail with ActorDiedError."""
        if not self._closed:
            self._closed = True
            for process in self._processes:
                self._retire(process)
        for process in self._processes:
            api.kill(process.actor)

    def join(self) -> None:
        """Waits until the processes have ended.

        Raises:
            ValueError: neither ``close`` nor ``terminate`` was called.
        """
        if not self._closed:
            raise ValueError("Pool is still running")
        if self._ending:
            api.wait(self._ending, num_returns=len(self._ending))
        self._listener.close()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate()

    def replace_dead(self, process: Any) -> None:
        """``process`` has died: another takes its place."""
        with self._lock:
            if not self._closed and process in self._processes:
                self._processes[self._processes.index(process)] = self._new_process()

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    def _new_process(self) -> _Process:
        actor = self._actor_class.remote(self._initializer, self._initargs)
        return _Process(actor, self._maxtasksperchild)

    def _retire(self, process: _Process) -> None:
        """It ends when it has done what it has."""
        self._ending.append(process.actor.__ray_terminate__.remote())

    def _submit(self, function: ObjectRef[Any], calls: Calls) -> Chunk:
        """Gives the calls to the process that has least to do."""
        with self._lock:
            count, start = len(self._processes), next(self._turn)
            turns = ((start + i) % count for i in range(count))
            index = min(turns, key=lambda i: self._processes[i].unfinished)
            process = self._processes[index]
            if process.chunks_left == 0:
                self._retire(process)
                process = self._processes[index] = self._new_process()
            return Chunk(process.submit(function, calls), process, self)

    def _map(
        self,
        func: Callable[..., Any],
        calls: Iterable[Call],
        chunksize: int | None,
        callback: Callable[[list[Any]], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
    ) -> AsyncResult:
        self._check_running()
        made = list(calls)
        size = self._chunk_size(len(made)) if chunksize is None else _checked(chunksize)
        function = api.put(func)
        chunks = [self._submit(function, made[i : i + size]) for i in range(0, len(made), size)]
        return AsyncResult(chunks, self._listener, callback, error_callback)

    def _chunk_size(self, calls: int) -> int:
        return -(-calls // (len(self._processes) * _CHUNKS_PER_PROCESS)) or 1

    def _starter(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None
    ) -> Callable[[], Chunk | None]:
        """A function that submits the next chunk; None: there are no more."""
        self._check_running()
        if chunksize is None:
            iterable = list(iterable)
            chunksize = self._chunk_size(len(iterable))
        size = _checked(chunksize)
        calls = iter(_single(iterable))
        function = api.put(func)

        def start() -> Chunk | None:
            self._check_running()
            chunk = list(itertools.islice(calls, size))
            return self._submit(function, chunk) if chunk else None

        return start


def _single(iterable: Iterable[Any]) -> Iterable[Call]:
    """A call with each item as the only argument."""
    return (((x,), {}) for x in iterable)


def _checked(chunksize: int) -> int:
    if chunksize < 1:
        raise ValueError(f"chunksize must be 1 or more, not {chunksize}")
    return chunksize


def _process_count(processes: int | None, address: str | None) -> int:
    """How many processes to start; joins a cluster if this process is in none."""
    if processes is not None and processes <= 0:
        raise ValueError(f"Processes in the pool must be >0. Got {processes}.")
    if not api.is_initialized():
        if address is None and not os.environ.get("SKYRAY_ADDRESS"):
            api.init(num_cpus=processes)
        else:
            api.init(address=address)
    cpus = int(api.cluster_resources().get("CPU", 0))
    if processes is not None and processes > cpus:
        raise ValueError(
            f"Tried to start a pool with {processes} processes on an existing skyray cluster, but "
            f"there are only {cpus} CPUs in the skyray cluster."
        )
    return processes or max(cpus, 1)
