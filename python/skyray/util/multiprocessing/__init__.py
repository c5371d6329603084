# SPDX-License-Identifier: Apache-2.0
"""``multiprocessing.Pool`` on a cluster: change the import, and nothing else."""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError

from .pool import Pool

__all__ = ["JoinableQueue", "Pool", "TimeoutError"]
