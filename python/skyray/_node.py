# SPDX-License-Identifier: Apache-2.0
"""The daemons of a cluster's head and of further nodes on this machine.

docs/design/001-processes.md says who starts whom and what they are told.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from . import _machine, _session, _settings
from ._daemon import Daemon
from ._memory_monitor import MemoryMonitor
from ._spilling import Spilling

_HEAD_RESOURCE = "node:__internal_head__"


class NodeOptions:
    """What a node offers. None: what is found on this machine.

    Args:
        num_cpus: units of CPU.
        num_gpus: whole GPUs.
        resources: further amounts by name; "memory" overrides what is found.
        object_store_memory: bytes.
        labels: of the node.
        node_ip: by which other nodes reach it.
        node_name: for people.
        data_host: address to listen at for other nodes; None: no TCP port at all.
        object_spilling_directory, _system_config: where and when objects are spilled,
            see :class:`Spilling`; when memory is short, see :class:`MemoryMonitor`;
            what owners of tasks and the GCS are to know, see :mod:`._settings`.
    """

    def __init__(
        self,
        *,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        resources: dict[str, float] | None = None,
        object_store_memory: int | None = None,
        memory: int | None = None,
        labels: dict[str, str] | None = None,
        node_ip: str | None = None,
        node_name: str | None = None,
        data_host: str | None = None,
        object_spilling_directory: str | None = None,
        _system_config: dict[str, Any] | None = None,
    ) -> None:
        self.node_ip = node_ip or _machine.node_ip()
        self.node_name = node_name or self.node_ip
        self.data_host = data_host
        self.spilling = Spilling(object_spilling_directory, _system_config)
        self.memory_monitor = MemoryMonitor(_system_config)
        self.owners = _settings.of_owners(_system_config)
        self.gcs_arguments = _settings.of_gcs(_system_config)
        self.labels = dict(labels or {})
        self.gpu_ids = _machine.choose_gpus(None if num_gpus is None else int(num_gpus))
        free = _machine.memory_bytes()
        self.object_store_memory = int(object_store_memory or _machine.object_store_bytes(free))
        self.resources: dict[str, float] = {
            "CPU": _machine.cpu_count() if num_cpus is None else num_cpus,
            "memory": memory or max(0, free - self.object_store_memory),
            "object_store_memory": self.object_store_memory,
            f"node:{self.node_ip}": 1,
        }
        if self.gpu_ids:
            self.resources["GPU"] = len(self.gpu_ids)
            kind = _machine.accelerator_type()
            if kind:
                self.resources[f"accelerator_type:{kind}"] = 1
                self.labels.setdefault("ray.io/accelerator-type", kind)
        self.resources.update(resources or {})


class Raylet:
    """One node: its raylet, with the store and the workers below it."""

    def __init__(self, session_dir: str, options: NodeOptions, *, head: bool) -> None:
        self.node_id = os.urandom(28).hex()
        self.session_dir = session_dir
        self.socket_dir = os.path.join(session_dir, f"n-{self.node_id[:8]}")
        self.socket = os.path.join(self.socket_dir, "raylet.sock")
        self.store_socket = os.path.join(self.socket_dir, "store.sock")
        self.node_ip = options.node_ip
        self.spill_folders = options.spilling.folders(session_dir, self.node_id)
        os.mkdir(self.socket_dir, 0o700)
        resources = dict(options.resources)
        if head:
            resources[_HEAD_RESOURCE] = 1
        arguments = ["--session-dir", session_dir]
        arguments += ["--gcs-socket", os.path.join(session_dir, "gcs.sock")]
        arguments += ["--node-id", self.node_id, "--owner-pid", str(os.getpid())]
        arguments += ["--head"] if head else []
        for name, amount in resources.items():
            if amount:
                arguments += ["--resource", f"{name}={amount:.4f}"]
        for name, value in {**options.labels, "ray.io/node-id": self.node_id}.items():
            arguments += ["--label", f"{name}={value}"]
        if options.gpu_ids:
            arguments += ["--gpu-ids", ",".join(options.gpu_ids)]
        arguments += ["--object-store-memory", str(options.object_store_memory)]
        arguments += options.spilling.arguments(session_dir)
        arguments += options.memory_monitor.arguments()
        arguments += ["--node-ip", options.node_ip, "--node-name", options.node_name]
        if options.data_host:
            arguments += ["--data-host", options.data_host]
        arguments += ["--python", sys.executable]
        log = os.path.join(session_dir, "logs", f"raylet-{self.node_id[:8]}.log")
        self.daemon = Daemon("raylet", arguments, log, environment=_environment(options))

    def wait_ready(self) -> None:
        self.daemon.wait_ready()

    def stop(self) -> None:
        self.daemon.stop()
        self._clean_up()

    def kill(self) -> None:
        self.daemon.kill()
        self._clean_up()

    def _clean_up(self) -> None:
        """Takes away what the raylet had no time to."""
        for path in (self.socket_dir, *self.spill_folders):
            shutil.rmtree(path, ignore_errors=True)


class Head:
    """A session of its own: the GCS and the first node."""

    def __init__(self, options: NodeOptions, *, storage: str = "memory") -> None:
        self.session_dir = _session.create()
        self._gcs: Daemon | None = None
        self.raylet: Raylet | None = None
        try:
            _settings.keep(options.owners, self.session_dir)
            self._gcs = self._start_gcs(storage, options.gcs_arguments)
            self.raylet = Raylet(self.session_dir, options, head=True)
        except BaseException:
            self.stop()
            raise

    @property
    def gcs_socket(self) -> str:
        return os.path.join(self.session_dir, "gcs.sock")

    def wait_ready(self) -> None:
        """Waits for both daemons; ends both if one of them fails.

        Raises:
            RuntimeError: why, with the end of the daemon's log.
        """
        assert self._gcs is not None
        assert self.raylet is not None
        try:
            self._gcs.wait_ready()
            self.raylet.wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self.raylet is not None:
            self.raylet.stop()
        if self._gcs is not None:
            self._gcs.stop()
        _session.end(self.session_dir)

    def _start_gcs(self, storage: str, more: list[str]) -> Daemon:
        import socket

        # Bound here, so that whoever connects finds it however long the GCS takes.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(self.gcs_socket)
            os.chmod(self.gcs_socket, 0o600)
            listener.listen(128)
            arguments = ["--listen-fd", str(Daemon.PASSED_FD), "--session-dir", self.session_dir]
            arguments += ["--storage", storage, "--owner-pid", str(os.getpid()), *more]
            log = os.path.join(self.session_dir, "logs", "gcs_server.log")
            return Daemon("gcs_server", arguments, log, pass_fd=listener.fileno())


def _environment(options: NodeOptions) -> dict[str, str]:
    """For a raylet: its zygote must find this very package, however it was found here.

    Its workers inherit it, and with it what they are to know as owners of tasks.
    """
    environment = {**os.environ, **_settings.as_environment(options.owners)}
    parent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.basename(parent) not in ("site-packages", "dist-packages"):
        paths = [parent, *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
