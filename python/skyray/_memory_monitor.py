# SPDX-License-Identifier: Apache-2.0
"""When a node ends a worker because memory runs short: Ray's names for it."""

from __future__ import annotations

from typing import Any

from ._settings import Bounds, number

_NUMBERS: Bounds = {
    "memory_usage_threshold": (0.95, 0.0, 1.0),
    "memory_monitor_refresh_ms": (250, 0, 3_600_000),
    # Bytes of anonymous memory that the node's workers may have together; 0: no such limit.
    "_memory_limit_bytes": (0, 0, 1 << 62),
}
# In front of /proc and /sys, for tests.
_ROOT = "_memory_root"


class MemoryMonitor:
    """Args: ``_system_config`` of ``init``, as given.

    Raises:
        TypeError, ValueError: it cannot be so; the message names what.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        config = config or {}
        self._numbers = {name: number(config, name, _NUMBERS) for name in _NUMBERS}
        self._root = str(config.get(_ROOT) or "")

    def arguments(self) -> list[str]:
        """What a raylet is told."""
        numbers = self._numbers
        found = ["--memory-threshold", repr(float(numbers["memory_usage_threshold"]))]
        found += ["--memory-refresh-ms", str(int(numbers["memory_monitor_refresh_ms"]))]
        found += ["--memory-limit", str(int(numbers["_memory_limit_bytes"]))]
        return [*found, "--memory-root", self._root] if self._root else found
