# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined"
# (mypy does not see what a class decorator returns.)
"""Four counters that keep their state in processes of their own.

python examples/counters.py
"""

from __future__ import annotations

import skyray


@skyray.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def increment(self) -> None:
        self.value += 1

    def read(self) -> int:
        return self.value


if __name__ == "__main__":
    skyray.init()
    counters = [Counter.remote() for _ in range(4)]
    for counter in counters:
        counter.increment.remote()  # One caller's calls run in the order it made them.
    print(skyray.get([counter.read.remote() for counter in counters]))  # [1, 1, 1, 1]
    skyray.shutdown()
