# SPDX-License-Identifier: Apache-2.0
"""When a node ends a worker because memory runs short: Ray's names for it."""

from __future__ import annotations

import os
from typing import Any

# name -> (default, least, most), each also SKYRAY_<name> in the environment.
_NUMBERS: dict[str, tuple[float, float, float]] = {
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
        self._numbers = {name: _number(config, name) for name in _NUMBERS}
        self._root = str(config.get(_ROOT) or "")

    def arguments(self) -> list[str]:
        """What a raylet is told."""
        number = self._numbers
        found = ["--memory-threshold", repr(float(number["memory_usage_threshold"]))]
        found += ["--memory-refresh-ms", str(int(number["memory_monitor_refresh_ms"]))]
        found += ["--memory-limit", str(int(number["_memory_limit_bytes"]))]
        return [*found, "--memory-root", self._root] if self._root else found


def _number(config: dict[str, Any], name: str) -> float:
    default, least, most = _NUMBERS[name]
    value: Any = config.get(name)
    where = f"_system_config[{name!r}]"
    if value is None and name in config:
        value = default
    elif value is None:
        where = f"SKYRAY_{name}"
        text = os.environ.get(where)
        try:
            value = default if not text else float(text)
        except ValueError as error:
            raise ValueError(f"{where}={text} is not a number") from error
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{where} must be a number, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{where}={value} is not in {least}..{most}")
    return value
