# SPDX-License-Identifier: Apache-2.0
"""Four squares, computed by tasks.

python examples/squares.py
"""

from __future__ import annotations

import skyray


@skyray.remote
def square(x: int) -> int:
    return x * x


if __name__ == "__main__":
    skyray.init()
    futures = [square.remote(i) for i in range(4)]  # Starts four tasks; does not wait.
    print(skyray.get(futures))  # [0, 1, 4, 9]
    skyray.shutdown()
