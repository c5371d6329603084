# SPDX-License-Identifier: Apache-2.0
"""Results one by one, as they are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..api import get, wait
from ..object_ref import ObjectRef

__all__ = ["as_completed", "map_unordered"]


def as_completed(
    refs: Sequence[ObjectRef[Any]],
    *,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Yields results as they come, not in the order of ``refs``.

    Args:
        refs: a list of distinct references.
        chunk_size: how many to wait for at a time. 1 yields each as soon as it is
            there; more save time where results are many.
        yield_obj_refs: yield the references and not their values.
        **kwargs: of ``wait``: ``timeout`` of each time and ``fetch_local``.

    Raises:
        ValueError: ``chunk_size`` is below 1; ``num_returns`` is given.
        Exception: what ``get`` raises for a result; the others of its chunk are lost.
    """
    _check(chunk_size, kwargs)
    left: Any = refs
    size = len(left)
    while size:
        ready, left = wait(left, num_returns=min(chunk_size, size), **kwargs)
        size = len(left)
        yield from ready if yield_obj_refs else get(ready)


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Runs a task for each item, and yields the results as they come.

    Items are taken as they are needed, and the next task is submitted when the
    caller has taken the results that are there.

    Args:
        fn: a remote function of one argument.
        items: what it is called with.
        backpressure_size: how many tasks may be in flight. None: all of them.
        chunk_size: how many to wait for at a time.
        yield_obj_refs: yield the references and not their values.
        **kwargs: of ``wait``: ``timeout`` of each time and ``fetch_local``.

    Raises:
        ValueError: ``chunk_size`` or ``backpressure_size`` is below 1;
            ``num_returns`` is given.
        Exception: as :func:`as_completed`.
    """
    _check(chunk_size, kwargs)
    if backpressure_size is not None and backpressure_size < 1:
        raise ValueError(f"backpressure_size must be positive. Got {backpressure_size}.")
    pending: list[ObjectRef[Any]] = []
    for item in items:
        pending.append(fn.remote(item))
        while backpressure_size is not None and len(pending) >= backpressure_size:
            ready, pending = wait(pending, num_returns=min(chunk_size, len(pending)), **kwargs)
            yield from ready if yield_obj_refs else get(ready)
    yield from as_completed(pending, chunk_size=chunk_size, yield_obj_refs=yield_obj_refs, **kwargs)


def _check(chunk_size: int, kwargs: dict[str, Any]) -> None:
    if chunk_size < 1:
        raise ValueError(f"`chunk_size` must be >= 1. Got {chunk_size}.")
    if "num_returns" in kwargs:
        raise ValueError("Use the `chunk_size` argument instead of `num_returns`.")
