# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined"
# (mypy does not see what a class decorator returns.)
"""Fit a line with an asynchronous parameter server: an actor holds the weights, tasks learn.

python examples/parameter_server.py

Each task takes the weights, works out a gradient on its own share of the data and sends it back.
The driver hands the next round to whichever task is done first; nobody waits for the slowest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import skyray

FEATURES, ROWS, SHARDS, ROUNDS, STEP = 50, 20_000, 4, 200, 0.05
Array = NDArray[np.float64]


@skyray.remote
class ParameterServer:
    def __init__(self, features: int) -> None:
        self.weights = np.zeros(features)

    def apply(self, gradient: Array) -> Array:
        self.weights = self.weights - STEP * gradient
        return self.weights

    def read(self) -> Array:
        return self.weights


@skyray.remote
def gradient(x: Array, y: Array, weights: Array) -> Array:
    """The mean-squared-error gradient; x and y are read in place from shared memory."""
    return 2 * x.T @ (x @ weights - y) / len(y)


def main() -> None:
    random = np.random.default_rng(7)
    truth = random.normal(size=FEATURES)
    shards: list[tuple[Any, Any]] = []
    for _ in range(SHARDS):
        x = random.normal(size=(ROWS, FEATURES))
        y = x @ truth + random.normal(scale=0.1, size=ROWS)
        shards.append((skyray.put(x), skyray.put(y)))

    server = ParameterServer.remote(FEATURES)
    weights = server.read.remote()
    running = {gradient.remote(x, y, weights): (x, y) for x, y in shards}
    for done in range(1, ROUNDS + 1):
        (ready,), _ = skyray.wait(list(running))
        x, y = running.pop(ready)
        weights = server.apply.remote(ready)
        running[gradient.remote(x, y, weights)] = (x, y)
        if done % 50 == 0:
            error = np.abs(skyray.get(weights) - truth).max()
            print(f"after {done} gradients the worst weight is off by {error:.4f}")


if __name__ == "__main__":
    skyray.init()
    main()
    skyray.shutdown()
