# SPDX-License-Identifier: Apache-2.0
"""How the log records of a job look: ``init(logging_config=LoggingConfig(...))``.

What is set up is Python's own ``logging``, in the driver and in each of its workers.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import Any

from . import _worker

__all__ = ["LoggingConfig"]

# The attributes of a LogRecord that logging itself gives it.
_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
_TIMESTAMP = "timestamp_ns"
_TEXT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"

_handler: logging.Handler | None = None  # Ours, while there is one.


@dataclass
class LoggingConfig:
    """What the root logger and skyray's own write, in every process of a job.

    Each record goes to stderr with where it was made: ``job_id``, ``worker_id``, ``node_id``, in a
    worker ``task_id``, ``task_name`` and ``task_func_name``, of an actor ``actor_id`` and
    ``actor_name``, then ``timestamp_ns`` (nanoseconds since 1970) and whatever the caller gave as
    ``extra``. Workers' output is shown at the driver as it is, without "(name pid=...)".

    Attributes:
        encoding: "TEXT" (``key=value`` after the message) or "JSON" (an object a line).
        log_level: below which nothing is written: a name or number of ``logging``.
        additional_log_standard_attrs: of a ``logging.LogRecord``, to be written too, such as
            "name" or "threadName".

    Raises:
        ValueError: no such encoding, level or attribute.
    """

    encoding: str = "TEXT"
    log_level: str | int = "INFO"
    additional_log_standard_attrs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in _FORMATTERS:
            raise ValueError(
                f"Invalid encoding type: {self.encoding}. Valid encoding types are: "
                f"{list(_FORMATTERS)}"
            )
        for name in self.additional_log_standard_attrs:
            if name not in _STANDARD:
                raise ValueError(
                    f"Unknown python logging standard attribute: {name}. The valid attributes "
                    f"are: {sorted(_STANDARD)}"
                )
        logging.Handler().setLevel(self.log_level)  # Raises for what is none.

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> LoggingConfig:
        """From what ``to_dict`` gave, maybe another version's: unknown keys are passed over."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in d.items() if name in known})

    def _apply(self) -> None:
        """Sets this process up. What an earlier one set up goes."""
        global _handler
        handler = logging.StreamHandler()
        handler.setLevel(self.log_level)
        handler.setFormatter(_FORMATTERS[self.encoding](self.additional_log_standard_attrs))
        handler.addFilter(_add_context)
        for logger in (logging.getLogger(), logging.getLogger(__package__)):
            if _handler is not None:
                logger.removeHandler(_handler)
            logger.setLevel(self.log_level)
            logger.addHandler(handler)
        logging.getLogger(__package__).propagate = False
        _handler = handler


def checked(given: Any) -> LoggingConfig:
    """What was given to ``init``, itself or as its ``to_dict``.

    Raises:
        TypeError: it is neither.
        ValueError: it has what cannot be.
    """
    if isinstance(given, dict):
        return LoggingConfig.from_dict(given)
    if not isinstance(given, LoggingConfig):
        raise TypeError(f"logging_config must be a dict or LoggingConfig, got {type(given)}")
    return given


def _context() -> dict[str, Any]:
    """Where this is running, by the names that records have for it."""
    connection = _worker.current()
    if connection is None:
        return {}
    from .runtime_context import get_runtime_context

    here = get_runtime_context()
    context: dict[str, str | None] = {
        "job_id": here.get_job_id(),
        "worker_id": here.get_worker_id(),
        "node_id": here.get_node_id(),
    }
    if connection.is_worker:
        actor_id = here.get_actor_id()
        context |= {
            "actor_id": actor_id,
            "task_id": here.get_task_id(),
            "task_name": here.get_task_name(),
            "task_func_name": here.get_task_function_name(),
            "actor_name": _name_of_actor(actor_id) if actor_id else None,
        }
    return context


@lru_cache(maxsize=1)
def _name_of_actor(actor_id: str) -> str | None:
    # The cluster is asked: not for every record.
    from .runtime_context import get_runtime_context

    return get_runtime_context().get_actor_name()


def _add_context(record: logging.LogRecord) -> bool:
    try:
        context = _context()
    except Exception:
        context = {}  # The connection ends: that is no reason to lose the record.
    for name, value in context.items():
        if value:
            setattr(record, name, value)
    setattr(record, _TIMESTAMP, time.time_ns())
    return True


class _Formatter(logging.Formatter):
    def __init__(self, attributes: list[str]) -> None:
        super().__init__(_TEXT)
        self._attributes = attributes

    def further(self, record: logging.LogRecord) -> dict[str, Any]:
        """What is written beside what every record has."""
        values = {name: getattr(record, name, None) for name in self._attributes}
        values |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        values[_TIMESTAMP] = values.pop(_TIMESTAMP, None)  # At the end.
        return values


class _TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        pairs = (f"{name}={value}" for name, value in self.further(record).items())
        return " ".join((super().format(record), *pairs))


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "filename": record.filename,
            "lineno": record.lineno,
            "process": record.process,
        }
        if record.exc_info:
            values["exc_text"] = record.exc_text or self.formatException(record.exc_info)
        # What a caller gives as `extra` may be anything.
        return json.dumps(values | self.further(record), default=repr)


_FORMATTERS: dict[str, type[_Formatter]] = {"TEXT": _TextFormatter, "JSON": _JsonFormatter}
