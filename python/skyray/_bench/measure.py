# SPDX-License-Identifier: Apache-2.0
"""How long things take: rates over a fixed time, and the spread of single calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Durations:
    """How long is measured, and how long is not yet."""

    warm_s: float = 0.5
    measure_s: float = 2.0


DURATIONS = Durations()


def hurry() -> None:
    """From now on everything is tried, and nothing measured well."""
    DURATIONS.warm_s, DURATIONS.measure_s = 0.0, 0.05


def rate(operation: Callable[[], Any], times: int = 1) -> float:
    """Operations per second, where one call of ``operation`` does ``times`` of them."""
    run_for(operation, DURATIONS.warm_s)
    calls, seconds = run_for(operation, DURATIONS.measure_s)
    return calls * times / seconds


def run_for(operation: Callable[[], Any], seconds: float) -> tuple[int, float]:
    """Calls ``operation`` until ``seconds`` have passed: (calls, seconds it really took)."""
    calls = 0
    began = time.perf_counter()
    while True:
        operation()
        calls += 1
        now = time.perf_counter()
        if now - began >= seconds:
            return calls, now - began


def latencies(operation: Callable[[], Any]) -> list[float]:
    """Microseconds of each call, in ascending order, after a warm-up."""
    run_for(operation, DURATIONS.warm_s)
    taken = []
    clock = time.perf_counter_ns
    end = clock() + int(DURATIONS.measure_s * 1e9)
    before = clock()
    while before < end:
        operation()
        after = clock()
        taken.append((after - before) / 1e3)
        before = after
    return sorted(taken)


def percentile(ascending: list[float], percent: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * percent / 100))]


def call_metrics(operation: Callable[[], Any]) -> dict[str, tuple[float, str]]:
    """Rate, median and 99th percentile of one call at a time."""
    taken = latencies(operation)
    return {
        "rate": (len(taken) / (sum(taken) / 1e6), "/s"),
        "p50": (percentile(taken, 50), "µs"),
        "p99": (percentile(taken, 99), "µs"),
    }


def once(operation: Callable[[], Any]) -> float:
    """Seconds of a single call."""
    began = time.perf_counter()
    operation()
    return time.perf_counter() - began


def median(values: list[float]) -> float:
    ascending = sorted(values)
    middle = len(ascending) // 2
    if len(ascending) % 2:
        return ascending[middle]
    return (ascending[middle - 1] + ascending[middle]) / 2
