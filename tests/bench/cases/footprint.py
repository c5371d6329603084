# SPDX-License-Identifier: Apache-2.0
"""What the system takes while it does nothing, and on disk."""

from __future__ import annotations

import importlib.metadata
import os
import time

import process_tree

from . import Bench, Metrics, at_most, case

SETTLE_S = 3.0
WATCH_S = 5.0


@case(processes=at_most(6), threads=at_most(30), pss=at_most(60), cpu=at_most(0.2))
def idle(bench: Bench) -> Metrics:
    """A cluster after its first task, everything but the driver.

    ≤ 4 processes beside its workers (here ≤ 2 of those), ≤ 30 threads, ≤ 60 MB (proportional
    share), ≤ 0.2 % of one core.
    """
    bench.start()
    time.sleep(SETTLE_S)  # What start-up still has to do is not idling.
    mark = os.environ.get(process_tree.MARK, "")
    pids = process_tree.members(mark, os.getpid())
    before = sum(map(process_tree.cpu_s, pids))
    time.sleep(WATCH_S)
    used_s = sum(map(process_tree.cpu_s, pids)) - before
    return {
        "processes": (len(pids), ""),
        "threads": (sum(map(process_tree.threads, pids)), ""),
        "pss": (sum(map(process_tree.pss_mb, pids)), "MB"),
        "cpu": (100 * used_s / WATCH_S, "%"),
    }


@case(size=at_most(40))
def installed(bench: Bench) -> Metrics:
    """The installed package, without what it depends on, takes ≤ 40 MB on disk."""
    files = importlib.metadata.distribution(bench.module_name).files or []
    paths = [os.fspath(file.locate()) for file in files if file.suffix != ".pyc"]
    return {"size": (sum(map(os.path.getsize, filter(os.path.exists, paths))) / 1e6, "MB")}
