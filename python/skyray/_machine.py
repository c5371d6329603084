# SPDX-License-Identifier: Apache-2.0
"""What this machine has to offer, as far as this process may use it."""

from __future__ import annotations

import os
import re

_OBJECT_STORE_SHARE = 0.3
_OBJECT_STORE_MIN_BYTES = 75 * 1024 * 1024
_OBJECT_STORE_MAX_BYTES = 200 * 10**9
_NVIDIA = "/proc/driver/nvidia/gpus"


def cpu_count() -> int:
    """CPUs that this process may run on and that its cgroup lets it use; at least 1."""
    count = len(os.sched_getaffinity(0))
    for folder in _cgroups():
        quota, _, period = _read(f"{folder}/cpu.max").partition(" ")
        if quota.isdigit() and period.strip().isdigit():
            count = min(count, int(quota) // int(period))
    return max(1, count)


def memory_bytes() -> int:
    """Memory that can be had now without taking it from another process."""
    available = 0
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    for folder in _cgroups():
        limit, used = _read(f"{folder}/memory.max").strip(), _read(f"{folder}/memory.current")
        if limit.isdigit() and used.strip().isdigit():
            available = min(available, max(0, int(limit) - int(used)))
    return available


def object_store_bytes(memory: int) -> int:
    """How much of ``memory`` bytes the object store takes unless told."""
    return max(
        _OBJECT_STORE_MIN_BYTES, min(_OBJECT_STORE_MAX_BYTES, int(memory * _OBJECT_STORE_SHARE))
    )


def gpu_ids() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    present = _gpu_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(present)]
    names = [name.strip() for name in visible.split(",")]
    if "-1" in names or "NoDevFiles" in names:
        return []
    return [name for name in names if name][:present]


def choose_gpus(wanted: int | None) -> list[str]:
    """The names of ``wanted`` GPUs; all that may be used if that is None.

    Raises:
        ValueError: CUDA_VISIBLE_DEVICES allows fewer.
    """
    found = gpu_ids()
    if wanted is None:
        return found
    if os.environ.get("CUDA_VISIBLE_DEVICES") is None:
        return [str(index) for index in range(wanted)]  # The user knows better.
    names = [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
    if wanted > len(names):
        raise ValueError(
            f"num_gpus={wanted}, but CUDA_VISIBLE_DEVICES contains {names}. Ask for at most "
            f"{len(names)}, or widen CUDA_VISIBLE_DEVICES."
        )
    return names[:wanted]


def accelerator_type() -> str | None:
    """The model of the first GPU, such as "H200"; None if there is none."""
    for gpu in _listing(_NVIDIA):
        model = re.search(r"^Model:\s*(.+)$", _read(f"{_NVIDIA}/{gpu}/information"), re.MULTILINE)
        name = (
            re.search(r"(?:NVIDIA|Tesla)\s+(?:Tesla\s+)?([A-Z0-9]+)", model[1]) if model else None
        )
        if name:
            return name[1]
    return None


def node_ip(towards: str = "192.0.2.1") -> str:
    """The address by which other machines would reach this one; 127.0.0.1 without a network.

    Args:
        towards: the host that is to reach it; one outside of this network unless given.
    """
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: only the route is looked up.
            probe.connect((towards, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _gpu_count() -> int:
    listed = _listing(_NVIDIA)
    if listed:
        return len(listed)
    return sum(1 for name in _listing("/dev") if re.fullmatch(r"nvidia\d+", name))


def _cgroups() -> list[str]:
    """Directories of this process's cgroup (version 2) and of those above it."""
    for line in _read("/proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            path = line[3:].rstrip("/")
            steps = [path]
            while path:
                path = path.rpartition("/")[0]
                steps.append(path)
            return [f"/sys/fs/cgroup{step}" for step in steps]
    return []


def _listing(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
