# SPDX-License-Identifier: Apache-2.0
"""Four times as many objects as the store has room for.

What is put ends as fresh pages of the page cache. On a virtual machine that gives its free
pages back, where these figures come from, a plain write into such pages did 0.25 to 0.9
GB/s, and 7 to 17 GB/s into the same pages again; no store writes its files faster than
that, so the claim for puts is no more than to be as fast.
"""

from __future__ import annotations

from typing import Any

from ..measure import once
from . import Bench, Metrics, at_least, case, numpy

MB = 1_000_000
STORE_BYTES = 400 * MB
TOTAL_BYTES = 4 * STORE_BYTES
PUT_CLAIM = 1
GET_CLAIM = 2


def four_times(bench: Bench, size: int) -> Metrics:
    np = numpy()
    module = bench.start(object_store_memory=STORE_BYTES)
    total_bytes = bench.size(TOTAL_BYTES, STORE_BYTES * 3 // 2)
    array = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    refs: list[Any] = []

    def put_all() -> None:
        for _ in range(total_bytes // size):
            refs.append(module.put(array))

    def get_all() -> None:
        for ref in refs:
            assert len(module.get(ref)) == size

    total_gb = total_bytes / 1e9
    return {
        "put": (total_gb / once(put_all), "GB/s"),
        "get": (total_gb / once(get_all), "GB/s"),
    }


@case(put=at_least(PUT_CLAIM), get=at_least(GET_CLAIM))
def spill_10_mb(bench: Bench) -> Metrics:
    """Arrays of 10 MB, in all four times the store: put: as fast; then got: ≥ 2 times as fast."""
    return four_times(bench, 10 * MB)


@case(put=at_least(PUT_CLAIM), get=at_least(GET_CLAIM))
def spill_1_mb(bench: Bench) -> Metrics:
    """Arrays of 1 MB, in all four times the store: put: as fast; then got: ≥ 2 times as fast."""
    return four_times(bench, MB)
