# SPDX-License-Identifier: Apache-2.0
"""What has been run, as chrome://tracing and Perfetto show it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

_logger = logging.getLogger(__name__)

# Workers that do not answer, as a stopped one, are not waited for any longer.
_FLUSH_WAIT_MS = 1000
# The parts of an execution, in their order, and their colours.
_PARTS = (
    ("task:deserialize_arguments", "rail_load"),
    ("task:execute", "rail_animation"),
    ("task:store_outputs", "rail_idle"),
)


def trace() -> list[dict[str, Any]]:
    """What :func:`skyray.timeline` returns: events of the Trace Event Format, of all jobs."""
    rows: list[dict[str, Any]] = []
    after, wait_ms, dropped = 0, _FLUSH_WAIT_MS, 0
    while True:
        events, after, dropped = _core.task_events(after, wait_ms)
        for event in events:
            rows += _rows(event)
        if not after:
            break
        wait_ms = 0
    if dropped:
        _logger.warning("The timeline lacks %d executions: there were too many of them.", dropped)
    return rows


def _rows(event: _core.TaskEvent) -> Iterator[dict[str, Any]]:
    node_ip, worker_id, task_id, name, code, start_ns, *durations, failure = event
    # A row of its own in the viewer is what has the same pid and tid.
    row = {"pid": node_ip, "tid": f"worker:{worker_id.hex()}"}
    begin_ns = start_ns
    reached = [duration for duration in durations if duration >= 0]
    for i, duration in enumerate(reached):
        part, color = _PARTS[i]
        raised = {}
        if failure is not None and i == len(reached) - 1:
            raised = dict(zip(("type", "value", "traceback"), failure, strict=True))
        yield _complete(row, part, part, color, begin_ns, duration, raised)
        begin_ns += duration
    whole = {"name": code, "task_id": task_id.hex()}
    took_ns = begin_ns - start_ns
    yield _complete(row, f"task::{name}", code, "generic_work", start_ns, took_ns, whole)


def _complete(
    row: dict[str, str],
    category: str,
    name: str,
    color: str,
    start_ns: int,
    duration_ns: int,
    arguments: dict[str, str],
) -> dict[str, Any]:
    """A complete event ("X"): times in µs."""
    return {
        "cat": category,
        "name": name,
        **row,
        "ts": start_ns / 1000,
        "dur": duration_ns / 1000,
        "ph": "X",
        "cname": color,
        "args": arguments,
    }
