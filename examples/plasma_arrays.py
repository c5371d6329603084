# SPDX-License-Identifier: Apache-2.0
"""Two processes and a store: one writes arrays, the other adds them up where they lie.

python examples/plasma_arrays.py
"""

from __future__ import annotations

import multiprocessing

import numpy as np

from skyray import plasma

ARRAYS = 8
LENGTH = 1_000_000


def write(socket: str, names: list[bytes]) -> None:
    """Creates, fills and seals an array under each name."""
    client = plasma.connect(socket)
    for number, name in enumerate(names):
        buffer = client.create(plasma.ObjectID(name), LENGTH * 8)
        array = np.frombuffer(memoryview(buffer), dtype=np.float64)
        array[:] = number  # Straight into shared memory.
        client.seal(plasma.ObjectID(name))


def main() -> None:
    with plasma.start_plasma_store(256 << 20) as (socket, _):
        names = [plasma.ObjectID.from_random().binary() for _ in range(ARRAYS)]
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(socket, names))
        writer.start()

        client = plasma.connect(socket)
        total = 0.0
        for name in names:
            # Waits until it is sealed; nothing is copied.
            [buffer] = client.get_buffers([plasma.ObjectID(name)])
            assert buffer is not None  # As it would be if a timeout had passed.
            total += float(np.frombuffer(memoryview(buffer), dtype=np.float64).sum())
            del buffer  # The release: from now on it may be evicted.
        writer.join()
        print(f"the sum of {ARRAYS * LENGTH:,} numbers is {total:,.0f}")


if __name__ == "__main__":
    main()
