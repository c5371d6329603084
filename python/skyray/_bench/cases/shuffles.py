# SPDX-License-Identifier: Apache-2.0
"""A shuffle: every one of 16 tasks gives a piece of its data to every one of 16 others."""

from __future__ import annotations

from typing import Any

from ..measure import median, once
from . import Bench, Metrics, at_least, case, numpy

MB = 1_000_000
TASKS = 16
PIECE_BYTES = 4 * MB
TIMES = 3


def shuffle(bench: Bench, store_bytes: int) -> Metrics:
    """GB/s of what is shuffled, by the median of some shuffles; all of it is read and checked."""
    np = numpy()
    module = bench.start(object_store_memory=store_bytes)
    words = PIECE_BYTES // bench.size(8, 80)

    def split(number: int) -> list[Any]:
        data = np.full(TASKS * words, number, dtype=np.int64)
        return [data[i * words : (i + 1) * words] for i in range(TASKS)]

    def merge(*pieces: Any) -> int:
        return int(sum(piece.sum() for piece in pieces))

    splitter = module.remote(split).options(num_returns=TASKS)
    merger = module.remote(merge)

    def run() -> None:
        rows = [splitter.remote(number) for number in range(TASKS)]
        sums = module.get([merger.remote(*column) for column in zip(*rows)])
        assert sums == [sum(range(TASKS)) * words] * TASKS, "a piece is not what was sent"

    run()
    seconds = median([once(run) for _ in range(bench.size(TIMES, 1))])
    return {"rate": (TASKS * TASKS * words * 8 / 1e9 / seconds, "GB/s")}


@case(rate=at_least(3))
def shuffle_in_memory(bench: Bench) -> Metrics:
    """1 GB, 16 x 16 pieces of 4 MB, in a store with room for all of it: ≥ 3 times the bytes."""
    return shuffle(bench, 4000 * MB)


@case(rate=at_least(2))
def shuffle_spilling(bench: Bench) -> Metrics:
    """The same in a store of 400 MB, so that most of it goes to disk: ≥ 2 times the bytes."""
    return shuffle(bench, 400 * MB)
