# SPDX-License-Identifier: Apache-2.0
"""Lines that many workers print alike are shown once, with how many there were.

Lines are alike if they are the same but for their digits. The first one is shown at once. From
the moment that another process prints a like one, it and all that follow are counted instead;
at the end of each window of five seconds the last of them is shown with their number. What
one process alone repeats is shown as it is. As in Ray, with the same variables under our prefix:

    SKYRAY_DEDUP_LOGS=0               shows everything
    SKYRAY_DEDUP_LOGS_AGG_WINDOW_S    the window, in seconds
    SKYRAY_DEDUP_LOGS_ALLOW_REGEX     lines in which it is found are always shown
    SKYRAY_DEDUP_LOGS_SKIP_REGEX      lines in which it is found are never shown
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from . import _settings

_WITHOUT_DIGITS = {ord(digit): None for digit in "0123456789"}
_KINDS_MAX = 10_000
_HINT = (
    " (skyray deduplicates logs by default. Set SKYRAY_DEDUP_LOGS=0 to disable log deduplication.)"
)


class Printed(NamedTuple):
    """Consecutive lines of one process.

    Attributes:
        source: the process, in the whole cluster.
        label: what to show before each line.
    """

    source: tuple[str, int]
    label: str
    is_stderr: bool
    lines: list[str]


class _Kind:
    """Lines that are alike, in one window."""

    __slots__ = ("count", "last", "source", "until")

    def __init__(self, source: tuple[str, int] | None, until: float) -> None:
        self.source = source  # None: several.
        self.until = until
        self.count = 0  # Of those not shown.
        self.last: Printed | None = None


class Deduplicator:
    """What is to be shown, and when; a pure function of what it is told.

    Args:
        window_s: seconds.
        allow, skip: expressions; None: nothing.

    Raises:
        ValueError: an expression makes no sense, or the window is no time.
    """

    def __init__(
        self, window_s: float = 5.0, *, allow: str | None = None, skip: str | None = None
    ) -> None:
        if not 0 < window_s < float("inf"):
            raise ValueError(f"the window for like log lines is {window_s} s, not a time")
        self._window_s = window_s
        self._allow = _expression("ALLOW", allow)
        self._skip = _expression("SKIP", skip)
        self._kinds: dict[tuple[bool, str], _Kind] = {}  # In the order in which they end.
        self._held = 0  # Kinds of which some are not shown.
        self._hint = _HINT

    def take(self, printed: Printed, now: float) -> list[Printed]:
        """What is shown of it, after what has become due."""
        shown = self.due(now)
        lines = [line for line in printed.lines if self._is_shown(line, printed, now)]
        while len(self._kinds) > _KINDS_MAX:
            self._end(next(iter(self._kinds)), shown)
        if lines:
            shown.append(printed._replace(lines=lines))
        return shown

    def due(self, now: float) -> list[Printed]:
        """The summaries of all windows that have ended."""
        shown: list[Printed] = []
        while self._kinds:
            key, kind = next(iter(self._kinds.items()))
            if kind.until > now:
                break
            self._end(key, shown)
            if kind.last is not None and now < float("inf"):
                # Where so much is said, more of it will be.
                self._kinds[key] = _Kind(None, now + self._window_s)
        return shown

    def all(self) -> list[Printed]:
        """The summaries of all windows, ended or not: there will be no more."""
        return self.due(float("inf"))

    @property
    def next_due(self) -> float | None:
        """When to ask for what is due, should nothing be printed; None: nothing is held back."""
        return next(iter(self._kinds.values())).until if self._held else None

    def _is_shown(self, line: str, printed: Printed, now: float) -> bool:
        if self._skip and self._skip.search(line):
            return False
        text = line.translate(_WITHOUT_DIGITS)
        if not text.strip() or (self._allow and self._allow.search(line)):
            return True
        key = (printed.is_stderr, text)
        kind = self._kinds.get(key)
        if kind is None:
            self._kinds[key] = _Kind(printed.source, now + self._window_s)
            return True
        if kind.source == printed.source:
            return True
        kind.source = None
        self._held += kind.count == 0
        kind.count += 1
        kind.last = printed._replace(lines=[line])
        return False

    def _end(self, key: tuple[bool, str], shown: list[Printed]) -> None:
        kind = self._kinds.pop(key)
        if kind.last is None:
            return
        self._held -= 1
        [line] = kind.last.lines
        text = line
        if kind.count > 1:
            text += f" [repeated {kind.count}x across cluster]{self._hint}"
            self._hint = ""
        shown.append(kind.last._replace(lines=[text]))


class Printer:
    """A deduplicator on the clock: `show` is called with what is due, also when nobody calls.

    Threading: any thread. A thread of its own waits only while lines are held back.
    """

    def __init__(self, deduplicator: Deduplicator, show: Callable[[Printed], None]) -> None:
        self._deduplicator = deduplicator
        self._show = show
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def take(self, printed: Printed) -> None:
        with self._lock:
            self._show_all(self._deduplicator.take(printed, time.monotonic()))

    def close(self) -> None:
        """Shows what is held back."""
        with self._lock:
            self._show_all(self._deduplicator.all())
            if self._timer is not None:
                self._timer.cancel()

    def _show_all(self, shown: list[Printed]) -> None:
        for printed in shown:
            self._show(printed)
        due = self._deduplicator.next_due
        if due is None or self._timer is not None:
            return
        self._timer = threading.Timer(max(0.0, due - time.monotonic()), self._wake)
        self._timer.daemon = True
        self._timer.start()

    def _wake(self) -> None:
        with self._lock:
            self._timer = None
            self._show_all(self._deduplicator.due(time.monotonic()))


def from_environment() -> Deduplicator | None:
    """
    Raises:
        ValueError: one of the variables cannot be understood; the message names it.
    """
    if os.environ.get("SKYRAY_DEDUP_LOGS") == "0":
        return None
    name = "DEDUP_LOGS_AGG_WINDOW_S"
    return Deduplicator(
        _settings.number({}, name, {name: (5.0, 0.001, 86_400.0)}),
        allow=os.environ.get("SKYRAY_DEDUP_LOGS_ALLOW_REGEX"),
        skip=os.environ.get("SKYRAY_DEDUP_LOGS_SKIP_REGEX"),
    )


def _expression(name: str, text: str | None) -> re.Pattern[str] | None:
    if not text:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(
            f"SKYRAY_DEDUP_LOGS_{name}_REGEX={text!r} is no regular expression: {error}"
        ) from error
