# SPDX-License-Identifier: Apache-2.0
"""A fixed set of actors that share a stream of work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Callable

from ..actor import ActorHandle
from ..api import get, wait
from ..exceptions import ActorDiedError
from ..object_ref import ObjectRef

__all__ = ["ActorPool"]

# What a call returned: a reference, or a list of them.
Result = Any
Submit = Callable[[ActorHandle, Any], Result]


class ActorPool:
    """Gives each value to an actor that is free.

    An actor that died leaves the pool with the error of what it was doing.

    Args:
        actors: handles; they should be of one kind.
    """

    def __init__(self, actors: Iterable[ActorHandle]) -> None:
        self._idle = list(actors)
        # By the number of the submission.
        self._working: dict[int, tuple[Result, ActorHandle]] = {}
        self._next_task = 0
        self._next_return = 0
        self._pending: deque[tuple[Submit, Any]] = deque()

    def map(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Yields ``fn(actor, value)``'s results in the order of ``values``."""
        return self._map(fn, values, self.get_next)

    def map_unordered(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Yields ``fn(actor, value)``'s results as they come."""
        return self._map(fn, values, self.get_next_unordered)

    def submit(self, fn: Submit, value: Any) -> None:
        """Runs ``fn(actor, value)`` on an actor that is free; else as soon as one is."""
        if not self._idle:
            self._pending.append((fn, value))
            return
        actor = self._idle.pop()
        self._working[self._next_task] = (fn(actor, value), actor)
        self._next_task += 1

    def has_next(self) -> bool:
        """Whether there are results that were not taken yet."""
        return bool(self._working)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission.

        Args:
            timeout: seconds. None waits for ever.
            ignore_if_timedout: when time is up, skip this result.

        Raises:
            StopIteration: there are no more results.
            TimeoutError: time is up.
            ValueError: ``get_next_unordered`` took this result already.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        if self._next_return not in self._working:
            raise ValueError("It is not allowed to call get_next() after get_next_unordered().")
        result, actor = self._working[self._next_return]
        if timeout is not None and not wait([_last(result)], timeout=timeout)[0]:
            late = f"Timed out waiting for result: it did not come within {timeout} s."
            if not ignore_if_timedout:
                raise TimeoutError(late)
            self._forget(self._next_return)
            self._return(actor)
            raise TimeoutError(f"{late} The task {result!r} has been ignored.")
        return self._take(self._next_return)

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """Whichever result comes first.

        Args:
            timeout: seconds. None waits for ever.
            ignore_if_timedout: accepted; nothing is skipped, as none is waited for.

        Raises:
            StopIteration: there are no more results.
            TimeoutError: time is up.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        by_ref = {_last(result): index for index, (result, _) in self._working.items()}
        ready, _ = wait(list(by_ref), timeout=timeout)
        if not ready:
            raise TimeoutError(f"Timed out waiting for result: none came within {timeout} s.")
        return self._take(by_ref[ready[0]])

    def has_free(self) -> bool:
        """Whether an actor has nothing to do."""
        return bool(self._idle) and not self._pending

    def pop_idle(self) -> ActorHandle | None:
        """Takes an actor that has nothing to do out of the pool; None if all are busy."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: ActorHandle) -> None:
        """Adds an actor.

        Raises:
            ValueError: it belongs to the pool already.
        """
        if actor in self._idle or any(actor == busy for _, busy in self._working.values()):
            raise ValueError("Actor already belongs to current ActorPool")
        self._return(actor)

    def _map(self, fn: Submit, values: Iterable[Any], take: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():  # Left over from an earlier use.
            self.get_next_unordered()
        self._next_return = self._next_task
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield take()

        return results()

    def _take(self, index: int) -> Any:
        """The value of a result, whose actor is free then."""
        result, actor = self._working[index]
        lives = True
        try:
            return get(result)
        except ActorDiedError:
            lives = False
            raise
        finally:
            self._forget(index)
            if lives:
                self._return(actor)

    def _forget(self, index: int) -> None:
        del self._working[index]
        self._next_return = max(self._next_return, index + 1)

    def _return(self, actor: ActorHandle) -> None:
        self._idle.append(actor)
        if self._pending:
            self.submit(*self._pending.popleft())


def _last(result: Result) -> ObjectRef[Any]:
    """The reference that is ready last, as an actor answers its calls in order."""
    return result[-1] if isinstance(result, list) else result  # type: ignore[no-any-return]
