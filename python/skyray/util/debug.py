# SPDX-License-Identifier: Apache-2.0
"""Says once what would otherwise be said again and again."""

from __future__ import annotations

import time
from collections.abc import Hashable

__all__ = ["disable_log_once_globally", "enable_periodic_logging", "log_once", "reset_log_once"]

_PERIOD_S = 60.0

# Key -> when it was last said. This process's alone.
_said: dict[Hashable, float] = {}
_disabled = False
_periodic = False


def log_once(key: Hashable) -> bool:
    """Whether to say now what ``key`` stands for: true the first time in this process.

    After :func:`enable_periodic_logging` also once a minute; after
    :func:`disable_log_once_globally` never.
    """
    if _disabled:
        return False
    now = time.monotonic()
    before = _said.get(key)
    if before is not None and not (_periodic and now - before > _PERIOD_S):
        return False
    _said[key] = now
    return True


def disable_log_once_globally() -> None:
    """:func:`log_once` is false from now on in this process."""
    global _disabled
    _disabled = True


def enable_periodic_logging() -> None:
    """:func:`log_once` is true again a minute after it last was, in this process."""
    global _periodic
    _periodic = True


def reset_log_once(key: Hashable | None = None) -> None:
    """Forgets that ``key``, or all, was said."""
    if key is None:
        _said.clear()
    else:
        _said.pop(key, None)
