# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""The four smallest programs everybody knows."""

from __future__ import annotations

from typing import Any

from . import program


@program(expected=[0, 1, 4, 9])
def square_futures(ray: Any) -> Any:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    return ray.get([square.remote(i) for i in range(4)])


@program(expected=[1, 1, 1, 1])
def four_counters(ray: Any) -> Any:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def increment(self) -> None:
            self.n += 1

        def read(self) -> int:
            return self.n

    counters = [Counter.remote() for _ in range(4)]
    for counter in counters:
        counter.increment.remote()
    return ray.get([counter.read.remote() for counter in counters])


@program(expected=(10, list(range(1, 11))))
def ten_ordered_increments_then_a_read(ray: Any) -> Any:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def increment(self) -> int:
            self.n += 1
            return self.n

        def read(self) -> int:
            return self.n

    counter = Counter.remote()
    steps = [counter.increment.remote() for _ in range(10)]
    return ray.get(counter.read.remote()), ray.get(steps)


@program(expected=36)
def ref_as_argument(ray: Any) -> Any:
    @ray.remote
    def add(x: int, y: int) -> int:
        return x + y

    first = add.remote(1, 2)
    second = add.remote(first, ray.put(30))
    return ray.get(add.remote(second, y=ray.put(3)))
