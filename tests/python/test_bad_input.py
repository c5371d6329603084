# SPDX-License-Identifier: Apache-2.0
"""What cannot be done, and bytes that make no sense: an error that helps, and a node that lives."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest
from waiting import printed

import skyray
from skyray._lifecycle import RayContext
from skyray.exceptions import TaskUnschedulableError

HEADER = struct.Struct("<IHH")
GARBAGE = [
    b"\xff" * 88,
    HEADER.pack(1 << 30, 0, 0),  # Announces a gigabyte.
    HEADER.pack(0xFFFFFFFF, 0, 0),
    HEADER.pack(64, 0, 0) + b"\xa5" * 64,  # A frame whose body is no message.
    HEADER.pack(64, 0, 16) + bytes(64),  # Descriptors that do not come.
    HEADER.pack(16, 9999, 0) + bytes(16),  # A kind that nobody knows.
    HEADER.pack(0, 0, 0),
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
]


@skyray.remote
def pid() -> int:
    return os.getpid()


@skyray.remote
class Listener:
    def socket(self) -> str:
        context = skyray.get_runtime_context()
        return context.get_worker_id()[:16]


def closes(path: str, data: bytes) -> bool:
    """Sends ``data``; whether the other side closes the connection (or never answers it)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass
        return True


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("name", ["gcs.sock", "raylet.sock", "store.sock", "worker", "driver"])
def test_garbage_on_a_socket(runtime: RayContext, name: str, data: bytes) -> None:
    folder = os.path.dirname(runtime["raylet_socket_name"])
    if name == "gcs.sock":
        path = os.path.join(runtime["session_dir"], name)
    elif name == "worker":
        listener = Listener.remote()
        path = os.path.join(folder, "w-" + skyray.get(listener.socket.remote()))
    elif name == "driver":
        own = skyray.get_runtime_context().get_worker_id()
        path = os.path.join(folder, "w-" + own[:16])
    else:
        path = os.path.join(folder, name)
    assert closes(path, data)
    if name == "worker":
        skyray.get(listener.socket.remote())
    assert skyray.get(pid.remote()) > 0
    assert skyray.get(skyray.put(bytes(300_000)))
    assert len(skyray.nodes()) == 1


def test_memory_is_not_taken_for_what_is_only_announced(runtime: RayContext) -> None:
    folder = Path(runtime["session_dir"])
    [raylet] = [
        int(p.name)
        for p in Path("/proc").glob("[0-9]*")
        if f"raylet\0--session-dir\0{folder}".encode() in _command(p)
    ]
    before = _resident_kb(raylet)
    connections = []
    for name in ("raylet.sock", "store.sock") * 4:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.path.join(os.path.dirname(runtime["raylet_socket_name"]), name))
        connection.sendall(HEADER.pack(1 << 30, 0, 0))
        connections.append(connection)
    skyray.get(pid.remote())
    assert _resident_kb(raylet) < before + 50_000
    for connection in connections:
        connection.close()


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def _resident_kb(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_sockets_are_for_the_owner_alone(runtime: RayContext) -> None:
    for path in Path(runtime["session_dir"]).rglob("*"):
        if path.is_socket():
            assert path.stat().st_mode & 0o077 == 0, path


def test_task_that_no_node_can_ever_run(
    runtime: RayContext, capfd: pytest.CaptureFixture[str]
) -> None:
    ref = pid.options(num_cpus=1000).remote()
    printed(capfd, "pid cannot be scheduled", "CPU", "1000", bound_s=10)
    with pytest.raises(skyray.exceptions.GetTimeoutError):
        skyray.get(ref, timeout=0)


def test_task_for_a_node_that_is_not_there(runtime: RayContext) -> None:
    from skyray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy("ab" * 28, soft=False)
    with pytest.raises(TaskUnschedulableError, match="it must run on node abab"):
        skyray.get(pid.options(scheduling_strategy=strategy).remote(), timeout=30)
    here = NodeAffinitySchedulingStrategy(skyray.nodes()[0]["NodeID"], soft=False)
    with pytest.raises(TaskUnschedulableError, match="CPU"):
        skyray.get(pid.options(num_cpus=1000, scheduling_strategy=here).remote(), timeout=30)
    soft = NodeAffinitySchedulingStrategy("ab" * 28, soft=True)
    assert skyray.get(pid.options(scheduling_strategy=soft).remote(), timeout=30) > 0
    with pytest.raises(ValueError, match="Invalid node_id 'xyz'"):
        NodeAffinitySchedulingStrategy("xyz", soft=False)
