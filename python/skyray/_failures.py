# SPDX-License-Identifier: Apache-2.0
"""Errors that nobody may hear of otherwise: where they are said, and how often.

A task whose result is dropped may fail a million times. So of what is alike (the same
function, the same class of error) the first ones are told in full, and later ones where their
number reaches a power of two, in a line.
"""

from __future__ import annotations

import logging
import os

from .exceptions import RayActorError, RayTaskError

_IGNORE = "SKYRAY_IGNORE_UNHANDLED_ERRORS"
_UNHANDLED = f"Unhandled error (suppress with '{_IGNORE}=1')"
_IN_FULL_MAX = 10

_logger = logging.getLogger(__package__)
_count: dict[tuple[str, ...], int] = {}


def tell(what: str, error: BaseException) -> None:
    """
    Args:
        what: comes of it; "": nothing, and nobody has looked at the result that it is.
        error: what a call failed with.
    """
    if not what:
        # That an actor is gone its user knows, or hears of it where it matters.
        if os.environ.get(_IGNORE) == "1" or isinstance(error, RayActorError):
            return
        what = _UNHANDLED
    kind = (what, *_kind_of(error))
    count = _count[kind] = _count.get(kind, 0) + 1
    if count <= _IN_FULL_MAX:
        _logger.error("%s: %s", what, error)
    elif count & (count - 1) == 0:
        last_line = str(error).rstrip().split("\n")[-1]
        _logger.error("%s, %d times by now: %s", what, count, last_line)


def _kind_of(error: BaseException) -> tuple[str, str]:
    if isinstance(error, RayTaskError):
        return error.function_name, type(error.cause).__qualname__
    return "", type(error).__qualname__
