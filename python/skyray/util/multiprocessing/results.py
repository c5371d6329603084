# SPDX-License-Identifier: Apache-2.0
"""What a pool's calls return."""

from __future__ import annotations

import queue
import threading
import traceback
import weakref
from collections import deque
from multiprocessing import TimeoutError
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from ... import _serialization
from ...api import get, wait
from ...exceptions import ActorDiedError, UnserializableException
from ...object_ref import ObjectRef

if TYPE_CHECKING:
    from .pool import Pool, _Process

__all__ = ["AsyncResult", "OrderedIMapIterator", "RemoteTraceback", "UnorderedIMapIterator"]

# Arguments of a call, and of some calls of one function.
Call = tuple[tuple[Any, ...], dict[str, Any]]
Calls = list[Call]


class RemoteTraceback(Exception):
    """The traceback of an exception in the process where it was raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class Failure:
    """What a call raised, on its way to the caller.

    Args:
        cause: the exception, pickled.
        trace: its traceback, as Python prints it.
    """

    def __init__(self, cause: bytes, trace: str) -> None:
        self._cause = cause
        self._trace = trace

    @staticmethod
    def of(error: BaseException) -> Failure:
        trace = _serialization.user_traceback(error)
        return Failure(_serialization.dump_cause(error, trace), trace)

    def error(self) -> BaseException:
        """The exception, with its remote traceback as its cause."""
        try:
            error = _serialization.load_cause(self._cause)
        except Exception:
            return UnserializableException(self._trace)
        error.__cause__ = RemoteTraceback(self._trace)
        return error


class Chunk:
    """Some calls that one process was given.

    Attributes:
        ref: to the list of their results.
    """

    def __init__(self, ref: ObjectRef[list[Any]], process: _Process, pool: Pool) -> None:
        self.ref = ref
        self._process = process
        self._pool = pool
        self._results: list[Any] | None = None

    def results(self) -> list[Any]:
        """One of each call, which may be a Failure. Waits for them.

        If there are none, as the process died or its answer cannot be pickled,
        that is what each of them ends with.
        """
        if self._results is None:
            try:
                self._results = get(self.ref)
            except Exception as error:
                if isinstance(error, ActorDiedError):
                    self._pool.replace_dead(self._process)
                self._results = [_Lost(error)]
        return self._results


class _Lost(Failure):
    """A failure that is an exception of this process already."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def error(self) -> BaseException:
        return self._error


class Listener:
    """Calls callbacks, in a thread of its own that starts with the first of them.

    Args:
        owner: with whom it ends.
    """

    def __init__(self, owner: Pool) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._waiting_for = 0
        weakref.finalize(owner, self._work.put, None)

    def expect(self) -> None:
        """Somebody will :meth:`post`, until :meth:`finished`."""
        with self._changed:
            self._waiting_for += 1
            if self._thread is None:
                name = "skyray pool callbacks"
                run = threading.Thread(target=_listen, args=(self._work,), name=name, daemon=True)
                self._thread = run
                run.start()

    def post(self, work: Callable[[], None]) -> None:
        """Does ``work`` in the thread."""
        self._work.put(work)

    def finished(self) -> None:
        with self._changed:
            self._waiting_for -= 1
            self._changed.notify_all()

    def is_this_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Waits until all is finished that is expected."""
        if not self.is_this_thread():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting_for == 0)


def _listen(work: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while True:
        item = work.get()
        if item is None:
            return
        item()
        del item  # Keeps the pool alive.


class AsyncResult:
    """The result of a call, or of a map, that may not be there yet.

    Not made by users. Once it is ready, the callbacks have been called.
    """

    def __init__(
        self,
        chunks: list[Chunk],
        listener: Listener,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        single: bool = False,
    ) -> None:
        self._chunks = chunks
        self._listener = listener
        self._callback = callback
        self._error_callback = error_callback
        self._single = single
        self._values: list[Any] | None = None
        self._called_back: threading.Event | None = None
        if callback is None and error_callback is None:
            return
        self._called_back = threading.Event()
        self._chunks_left = len(chunks)
        self._failed = False
        listener.expect()
        for chunk in chunks:
            self._listen_to(chunk)
        if not chunks:
            listener.post(self._finish)

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the result is there, or for ``timeout`` seconds."""
        if self._called_back is not None and not self._listener.is_this_thread():
            self._called_back.wait(timeout)
        elif self._chunks:
            wait([c.ref for c in self._chunks], num_returns=len(self._chunks), timeout=timeout)

    def ready(self) -> bool:
        """Whether the result is there."""
        if self._called_back is not None and not self._listener.is_this_thread():
            return self._called_back.is_set()
        return all(chunk.ref.is_ready() for chunk in self._chunks)

    def get(self, timeout: float | None = None) -> Any:
        """The result. Waits for it.

        Raises:
            Exception: what the call raised; of a map, the first in its order.
            TimeoutError: that of multiprocessing: it was not there in time.
        """
        self.wait(timeout)
        if timeout is not None and not self.ready():
            raise TimeoutError(f"The result is not there after {timeout} s.")
        values = self._all()
        for value in values:
            _raise_if_failed(value)
        return values[0] if self._single else values

    def successful(self) -> bool:
        """Whether no call raised.

        Raises:
            ValueError: the result is not there yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return not any(isinstance(value, Failure) for value in self._all())

    def _all(self) -> list[Any]:
        if self._values is None:
            self._values = [value for chunk in self._chunks for value in chunk.results()]
        return self._values

    def _listen_to(self, chunk: Chunk) -> None:
        def take() -> None:
            self._chunks_left -= 1
            failures = (v for v in chunk.results() if isinstance(v, Failure))
            failure = next(failures, None)
            if failure is not None and not self._failed:
                self._failed = True
                _call(self._error_callback, failure.error())
            if self._chunks_left == 0:
                self._finish()

        chunk.ref.on_ready(lambda _: self._listener.post(take))

    def _finish(self) -> None:
        if not self._failed:
            values = self._all()
            _call(self._callback, values[0] if self._single else list(values))
        assert self._called_back is not None
        self._called_back.set()
        self._listener.finished()


class _IMapIterator:
    """Results one by one.

    Args:
        start: submits the next chunk; None: there are no more.
        ahead: how many chunks to keep in flight.
    """

    def __init__(self, start: Callable[[], Chunk | None], ahead: int) -> None:
        self._start = start
        self._running: list[Chunk] = []
        self._ready: deque[Any] = deque()
        self._more = True
        self._broken: Exception | None = None
        for _ in range(ahead):
            self._start_next()

    def __iter__(self) -> _IMapIterator:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result.

        Args:
            timeout: seconds to wait for it. None: for ever.

        Raises:
            StopIteration: there are no more.
            TimeoutError: that of multiprocessing: it was not there in time.
            Exception: what the call raised, or the iterable of arguments.
        """
        while not self._ready:
            if not self._running:
                self._end()
            ready, _ = wait([chunk.ref for chunk in self._candidates()], timeout=timeout)
            if not ready:
                raise TimeoutError(f"The next result is not there after {timeout} s.")
            index = next(i for i, chunk in enumerate(self._running) if chunk.ref == ready[0])
            self._ready.extend(self._running.pop(index).results())
            self._start_next()
        return _raise_if_failed(self._ready.popleft())

    def start_all(self) -> None:
        """Submits what is left."""
        while self._more:
            self._start_next()

    def _candidates(self) -> list[Chunk]:
        """Of which the next result may be."""
        raise NotImplementedError

    def _start_next(self) -> None:
        if not self._more:
            return
        try:
            chunk = self._start()
        except Exception as error:  # The user's iterable; its turn comes after what was submitted.
            self._broken = error
            chunk = None
        if chunk is None:
            self._more = False
        else:
            self._running.append(chunk)

    def _end(self) -> NoReturn:
        if self._broken is not None:
            error, self._broken = self._broken, None
            raise error
        raise StopIteration


class OrderedIMapIterator(_IMapIterator):
    """Results in the order of the arguments."""

    def _candidates(self) -> list[Chunk]:
        return self._running[:1]


class UnorderedIMapIterator(_IMapIterator):
    """Results as they come."""

    def _candidates(self) -> list[Chunk]:
        return self._running


def _raise_if_failed(value: Any) -> Any:
    if isinstance(value, Failure):
        raise value.error()
    return value


def _call(callback: Callable[[Any], Any] | None, value: Any) -> None:
    """An exception in a callback is shown, and concerns nobody else."""
    if callback is None:
        return
    try:
        callback(value)
    except Exception:
        traceback.print_exc()
