# SPDX-License-Identifier: Apache-2.0
"""Four times as many objects as the store has room for."""

from __future__ import annotations

from typing import Any

import numpy as np

from measure import once

from . import Bench, Metrics, at_least, case

MB = 1_000_000
STORE_BYTES = 400 * MB
TOTAL_BYTES = 4 * STORE_BYTES
CLAIM = 2


def four_times(bench: Bench, size: int) -> Metrics:
    module = bench.start(object_store_memory=STORE_BYTES)
    array = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    refs: list[Any] = []

    def put_all() -> None:
        for _ in range(TOTAL_BYTES // size):
            refs.append(module.put(array))

    def get_all() -> None:
        for ref in refs:
            assert len(module.get(ref)) == size

    total_gb = TOTAL_BYTES / 1e9
    return {
        "put": (total_gb / once(put_all), "GB/s"),
        "get": (total_gb / once(get_all), "GB/s"),
    }


@case(put=at_least(CLAIM), get=at_least(CLAIM))
def spill_10_mb(bench: Bench) -> Metrics:
    """Arrays of 10 MB, in all four times the store: put, and then got: ≥ 2 times as fast."""
    return four_times(bench, 10 * MB)


@case(put=at_least(CLAIM), get=at_least(CLAIM))
def spill_1_mb(bench: Bench) -> Metrics:
    """Arrays of 1 MB, in all four times the store: put, and then got: ≥ 2 times as fast."""
    return four_times(bench, MB)
