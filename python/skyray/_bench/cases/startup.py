# SPDX-License-Identifier: Apache-2.0
"""From nothing to the first result, and back."""

from __future__ import annotations

import subprocess
import sys

from ..measure import once
from . import Bench, Metrics, at_least, at_most, case

HELLO = """
import {module} as m
m.init(num_cpus={num_cpus})
print(m.get(m.remote(lambda: "hello").remote()))
"""


@case(time=at_most(0.08))
def import_module(bench: Bench) -> Metrics:
    """Importing the module into a fresh interpreter takes no more than 0.08 s."""
    return {"time": (once(bench.load), "s")}


@case(init=at_least(10, 0.15), first_result=at_least(10))
def init(bench: Bench) -> Metrics:
    """init() is 10 times as fast and takes ≤ 0.15 s; so is the time to the first task's result."""
    module = bench.load()
    init_s = once(lambda: module.init(num_cpus=bench.num_cpus))
    first_s = once(lambda: module.get(module.remote(lambda: 1).remote()))
    return {"init": (init_s, "s"), "first_result": (init_s + first_s, "s")}


@case(time=at_most(0.1))
def shutdown(bench: Bench) -> Metrics:
    """shutdown() of a cluster that has run a task takes no more than 0.1 s."""
    module = bench.start()
    return {"time": (once(module.shutdown), "s")}


@case(time=at_most(0.35))
def hello_script(bench: Bench) -> Metrics:
    """A script that starts a cluster, runs one task, prints and exits takes ≤ 0.35 s in all."""
    script = HELLO.format(module=bench.module_name, num_cpus=bench.num_cpus)

    def run() -> None:
        subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)

    return {"time": (once(run), "s")}
