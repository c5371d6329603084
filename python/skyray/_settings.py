# SPDX-License-Identifier: Apache-2.0
"""Numbers that ``_system_config`` of ``init`` or the environment may set: Ray's names for them."""

from __future__ import annotations

import json
import os
from typing import Any

# name -> (default, least, most), each also SKYRAY_<name> in the environment.
Bounds = dict[str, tuple[float, float, float]]

PREFIX = "SKYRAY_"
_FILE = "owners.json"

_OWNERS: Bounds = {
    "max_lineage_bytes": (1 << 30, 0, 1 << 62),
    "task_oom_retries": (-1, -1, (1 << 31) - 1),
    "task_events_report_interval_ms": (1000, 0, (1 << 31) - 1),
}
_HEAD: Bounds = {"task_events_max_num_task_in_gcs": (100_000, -1, (1 << 31) - 1)}


def number(config: dict[str, Any], name: str, bounds: Bounds) -> float:
    """What holds for ``name``.

    Raises:
        TypeError, ValueError: it cannot be so; the message names what.
    """
    default, least, most = bounds[name]
    value: Any = config.get(name)
    where = f"_system_config[{name!r}]"
    if value is None and name in config:
        value = default
    elif value is None:
        where = PREFIX + name
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


def of_owners(config: dict[str, Any] | None = None) -> dict[str, int]:
    """What every process is to know that calls tasks or runs them: as ``connect`` of the
    core takes it.

    Args:
        config: ``_system_config`` of ``init``, as given.

    Raises:
        TypeError, ValueError: as :func:`number`.
    """
    return {name: int(number(config or {}, name, _OWNERS)) for name in _OWNERS}


def of_gcs(config: dict[str, Any] | None = None) -> list[str]:
    """What the GCS is to know, as its command line takes it.

    Raises:
        TypeError, ValueError: as :func:`number`.
    """
    [(name, bounds)] = _HEAD.items()
    events = int(number(config or {}, name, _HEAD))
    return ["--task-events-max", str(events if events >= 0 else int(bounds[2]))]


def keep(owners: dict[str, int], session_dir: str) -> None:
    """Has drivers that join the session later find them."""
    with open(os.path.join(session_dir, _FILE), "w") as file:
        json.dump(owners, file)


def kept(session_dir: str) -> dict[str, int]:
    """What :func:`keep` was called with; nothing if the session is an older version's."""
    try:
        with open(os.path.join(session_dir, _FILE)) as file:
            found: dict[str, int] = json.load(file)
    except FileNotFoundError:
        return {}
    return found


def as_environment(owners: dict[str, int]) -> dict[str, str]:
    """Variables from which :func:`of_owners` has the same in a worker."""
    return {PREFIX + name: str(value) for name, value in owners.items()}
