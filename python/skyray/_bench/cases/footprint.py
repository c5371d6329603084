# SPDX-License-Identifier: Apache-2.0
"""What the system takes while it does nothing, and on disk."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import time

from .. import process_tree
from . import Bench, Metrics, at_most, case

SETTLE_S = 3
WATCH_S = 5


@case(beside_workers=at_most(4), threads=at_most(30), pss=at_most(60), cpu=at_most(0.2))
def idle(bench: Bench) -> Metrics:
    """A cluster after its first task, everything but the driver.

    ≤ 4 processes beside a worker per CPU, ≤ 30 threads, ≤ 60 MB (proportional share), ≤ 0.2 % of
    one core.
    """
    bench.start()
    time.sleep(bench.size(SETTLE_S, 0))  # What start-up still has to do is not idling.
    mark = os.environ.get(process_tree.MARK, "")
    pids = process_tree.members(mark, os.getpid())
    before = sum(map(process_tree.cpu_s, pids))
    watch_s = bench.size(WATCH_S, 1)
    time.sleep(watch_s)
    used_s = sum(map(process_tree.cpu_s, pids)) - before
    return {
        "processes": (len(pids), ""),
        "beside_workers": (max(0, len(pids) - bench.num_cpus), ""),
        "threads": (sum(map(process_tree.threads, pids)), ""),
        "pss": (sum(map(process_tree.pss_mb, pids)), "MB"),
        "cpu": (100 * used_s / watch_s, "%"),
    }


@case(size=at_most(40))
def installed(bench: Bench) -> Metrics:
    """The installed package, without what it depends on, takes ≤ 40 MB on disk."""
    spec = importlib.util.find_spec(bench.module_name)
    try:
        files = importlib.metadata.distribution(bench.module_name).files or []
        paths = [os.fspath(file.locate()) for file in files]
    except importlib.metadata.PackageNotFoundError:  # Used from a source tree.
        folders = spec.submodule_search_locations if spec is not None else None
        paths = [
            os.path.join(folder, name)
            for top in folders or []
            for folder, _, names in os.walk(top, followlinks=True)
            for name in names
        ]
    kept = [path for path in paths if os.path.exists(path) and not path.endswith(".pyc")]
    return {"size": (sum(map(os.path.getsize, kept)) / 1e6, "MB")}
