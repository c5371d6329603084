# SPDX-License-Identifier: Apache-2.0
"""What one user's load does to another: a long task to short ones, a driver to the next."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from ..measure import once
from . import Bench, Metrics, at_least, at_most, case

BATCH = 1000
LONG_S = 10.0
DRIVERS = 2
TOGETHER_S = 3.0

# A driver of a running cluster: says when it is ready, waits to be told to start,
# and prints how many tasks it got done in the time given.
DRIVER = """
import sys, time
import {module} as m
m.init(address={address!r})
task = m.remote(lambda: b"ok")
m.get([task.remote() for _ in range(100)])
print("ready", flush=True)
sys.stdin.readline()
done, end = 0, time.monotonic() + {seconds}
while time.monotonic() < end:
    m.get([task.remote() for _ in range(100)])
    done += 100
print(done, flush=True)
"""


@case(time=at_least(1, 500))
def short_tasks_behind_a_long_one(bench: Bench) -> Metrics:
    """100 short tasks submitted right after one of 10 s do not wait for it: ≤ 500 ms in all."""
    module = bench.start()
    task = module.remote(lambda: b"ok")
    module.get([task.remote() for _ in range(BATCH)])
    seconds = bench.size(10, 1)
    long = module.remote(lambda: time.sleep(seconds)).remote()
    taken_s = once(lambda: module.get([task.remote() for _ in range(100)]))
    module.get(long)
    return {"time": (taken_s * 1e3, "ms")}


@case(faster_to_slower=at_most(1.5))
def two_drivers(bench: Bench) -> Metrics:
    """Two drivers of one cluster, each with batches of 100 tasks: the one that gets more done gets
    ≤ 1.5 times what the other gets. rate: both together."""
    context = bench.load().init(num_cpus=bench.num_cpus)
    address = context.address_info["address"]
    script = DRIVER.format(
        module=bench.module_name, address=address, seconds=bench.size(int(TOGETHER_S), 1)
    )
    drivers = [start_driver(script) for _ in range(DRIVERS)]
    try:
        for driver in drivers:
            read_line(driver, "ready")
        for driver in drivers:
            driver.stdin.write("go\n")
            driver.stdin.flush()
        done = sorted(int(read_line(driver)) for driver in drivers)
    finally:
        for driver in drivers:
            driver.stdin.close()
            driver.wait()
    return {
        "rate": (sum(done) / bench.size(int(TOGETHER_S), 1), "/s"),
        "faster_to_slower": (done[-1] / done[0] if done[0] else float("inf"), "times"),
    }


def start_driver(script: str) -> Any:
    command = [sys.executable, "-u", "-c", script]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=dict(os.environ))


def read_line(driver: Any, expected: str = "") -> str:
    """The next line that is it, or is a number if none is expected; systems print, too."""
    for line in driver.stdout:
        if line.strip() == expected or (not expected and line.strip().isdigit()):
            return str(line)
    raise RuntimeError(f"a driver ended with status {driver.wait()}")
