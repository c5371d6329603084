# SPDX-License-Identifier: Apache-2.0
"""Words of the tests about spilling: arrays that tell who they are, files, drivers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import skyray

MB = 1 << 20
STORE = 40 * MB
ARRAY = 2 * MB

# Small files, and no waiting for room that will not come.
QUICK = {"min_spilling_size": 4 * MB, "oom_grace_period_s": 1}


def array(number: int, size: int = ARRAY) -> Any:
    """Bytes that no other number has."""
    return np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)


def check(value: Any, number: int) -> None:
    assert np.array_equal(value, array(number, len(value))), f"array {number} is another one"


def start(directory: Path | None, **config: Any) -> Any:
    """A node with a small store that spills to ``directory``."""
    return skyray.init(
        num_cpus=2,
        object_store_memory=STORE,
        object_spilling_directory=None if directory is None else str(directory),
        _system_config={**QUICK, **config},
    )


def url_config(*urls: str) -> str:
    return json.dumps({"type": "smart_open", "params": {"uri": list(urls)}})


def files(directory: Path) -> list[Path]:
    """Spill files that are complete."""
    return sorted(directory.rglob("*.spill"))


def folders(directory: Path) -> list[Path]:
    return sorted(directory.glob("skyray_spilled_*"))
