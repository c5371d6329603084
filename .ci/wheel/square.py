"""The smallest job there is, run by check_wheel.py where only Python and libc are."""

from __future__ import annotations

import skyray


@skyray.remote
def square(x: int) -> int:
    return x * x


if __name__ == "__main__":
    skyray.init(num_cpus=2)
    assert skyray.get([square.remote(i) for i in range(4)]) == [0, 1, 4, 9]
    large = b"x" * 1_000_000
    assert skyray.get(skyray.put(large)) == large
    skyray.shutdown()
    print("square.py: [0, 1, 4, 9]")
