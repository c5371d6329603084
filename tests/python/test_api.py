# SPDX-License-Identifier: Apache-2.0
"""init and shutdown, and what a cluster tells of itself."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import processes_of

import skyray
from skyray import _session
from skyray.exceptions import RaySystemError


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    skyray.shutdown()


def listening_ports() -> set[str]:
    """Local addresses of all TCP sockets of this machine that listen."""
    found = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(path).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A":
                found.add(local)
    return found


def sockets_of(session_dir: str) -> list[Path]:
    return [path for path in Path(session_dir).rglob("*") if stat.S_ISSOCK(path.stat().st_mode)]


@pytest.mark.parametrize(("namespace", "error"), [("", ValueError), (3, TypeError)])
def test_what_is_no_namespace(namespace: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="namespace"):
        skyray.init(num_cpus=1, namespace=namespace)
    assert not skyray.is_initialized()


def test_life_of_a_cluster() -> None:
    before = listening_ports()
    assert not skyray.is_initialized()
    context = skyray.init(num_cpus=1)
    assert skyray.is_initialized()
    session = context["session_dir"]
    assert stat.S_IMODE(os.stat(session).st_mode) == 0o700
    assert len(sockets_of(session)) >= 3
    assert processes_of(session)
    assert listening_ports() <= before, "a local cluster opens no TCP port"
    assert _session.live_sessions() == [session]

    skyray.shutdown()
    assert not skyray.is_initialized()
    assert processes_of(session) == {}
    assert sockets_of(session) == []
    skyray.shutdown()  # Once more does nothing.


def test_cluster_after_cluster() -> None:
    for number in range(3):
        skyray.init(num_cpus=1)
        assert skyray.get(skyray.put(number)) == number
        skyray.shutdown()


def test_remote_function_and_actor_class_outlive_a_cluster() -> None:
    @skyray.remote
    def f() -> int:
        return 1

    @skyray.remote
    class A:
        def m(self) -> int:
            return 2

    for _ in range(2):
        skyray.init(num_cpus=2)
        assert skyray.get(f.remote()) == 1
        assert skyray.get(A.remote().m.remote()) == 2
        skyray.shutdown()


def test_init_twice() -> None:
    context = skyray.init(num_cpus=1)
    with pytest.raises(RuntimeError, match=r"called skyray\.init twice by accident\?"):
        skyray.init()
    assert skyray.init(ignore_reinit_error=True) is context


def test_context_manager_and_facts() -> None:
    with skyray.init(num_cpus=1) as context:
        assert context.address_info["node_id"] == context["node_id"]
        assert dict(context)["session_dir"] == context["session_dir"]
        assert "session_dir" in repr(context)
    assert not skyray.is_initialized()


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(RuntimeError, match=r"Unknown keyword argument\(s\): cpus"):
        skyray.init(cpus=3)
    with pytest.raises(RuntimeError, match="no longer supported"):
        skyray.init(local_mode=True)
    with pytest.raises(ValueError, match="num_cpus cannot be negative"):
        skyray.init(num_cpus=-1)
    with pytest.raises(TypeError, match="num_cpus"):
        skyray.init(num_cpus="2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'num_cpus' and 'num_gpus' keyword"):
        skyray.init(resources={"CPU": 1})
    with pytest.raises(ValueError, match="at most 1e"):
        skyray.init(resources={"a": 1e20})
    with pytest.raises(ValueError, match="no '=', got 'a=b'"):
        skyray.init(resources={"a=b": 1})
    with pytest.raises(ValueError, match=r"num_gpus=1\.5: a node has whole GPUs"):
        skyray.init(num_gpus=1.5)
    with pytest.raises(ValueError, match=r"num_cpus=1\.5: a node has whole CPUs"):
        skyray.init(num_cpus=1.5)
    with pytest.raises(TypeError, match="labels must be of type"):
        skyray.init(labels={"a": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"object_store_memory=1 bytes is not in"):
        skyray.init(object_store_memory=1)
    with pytest.raises(ConnectionError, match=r"There is no cluster at address='10\.0\.0\.1:6379'"):
        skyray.init("10.0.0.1:6379")
    assert not skyray.is_initialized()


def test_gpus_beyond_those_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with pytest.raises(ValueError, match=r"num_gpus=3.*CUDA_VISIBLE_DEVICES contains \['3', '5'\]"):
        skyray.init(num_gpus=3)


def test_daemon_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SKYRAY_BIN_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="SKYRAY_BIN_DIR"):
        skyray.init()
    assert not skyray.is_initialized()


def test_call_without_init_starts_a_cluster() -> None:
    assert skyray.get(skyray.put(1)) == 1
    assert skyray.is_initialized()


def test_call_without_init_when_that_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYRAY_ENABLE_AUTO_CONNECT", "0")
    with pytest.raises(RaySystemError, match=r"Call skyray\.init\(\) first"):
        skyray.put(1)


def test_second_driver_joins_by_address() -> None:
    with skyray.init(num_cpus=2, namespace="shared") as context:

        @skyray.remote
        class Box:
            def get(self) -> str:
                return "from the first driver"

        box = Box.options(name="box").remote()
        skyray.get(box.get.remote())
        script = (
            "import skyray, sys; skyray.init(sys.argv[1], namespace='shared');"
            "print(skyray.get(skyray.get_actor('box').get.remote()))"
        )
        run = [sys.executable, "-c", script]
        for address in (context["session_dir"], "auto"):
            result = subprocess.run([*run, address], capture_output=True, text=True, timeout=60)
            assert result.stdout == "from the first driver\n", result.stderr
        assert skyray.get(box.get.remote()), "the cluster outlives its guest"
        with pytest.raises(RuntimeError, match="twice"):
            skyray.init("auto")


_MAKER = """
import skyray, sys

@skyray.remote(num_cpus=0)
class Made:
    def hello(self):
        return "made"

@skyray.remote(num_cpus=0)
class Maker:
    def make(self):
        self.made = Made.remote()
        return skyray.get(self.made.hello.remote())

skyray.init(sys.argv[1], namespace="shared")
maker = Maker.options(name="maker", lifetime="detached").remote()
skyray.get(maker.__ray_ready__.remote())
"""


def test_a_detached_actor_makes_actors_when_its_driver_has_ended() -> None:
    with skyray.init(num_cpus=2, namespace="shared") as context:
        run = [sys.executable, "-c", _MAKER, context["session_dir"]]
        subprocess.run(run, check=True, timeout=60)
        maker = skyray.get_actor("maker")
        assert skyray.get(maker.make.remote(), timeout=60) == "made"
        skyray.kill(maker)


def test_nodes_and_resources() -> None:
    skyray.init(num_cpus=3, resources={"a": 1.5}, labels={"zone": "x"})
    [node] = skyray.nodes()
    assert node["Alive"]
    assert node["NodeID"] == skyray.get_runtime_context().get_node_id()
    assert node["NodeManagerHostname"] == socket.gethostname()
    assert node["Labels"]["zone"] == "x"
    total = skyray.cluster_resources()
    assert total["CPU"] == 3.0
    assert total["a"] == 1.5
    assert total[f"node:{node['NodeManagerAddress']}"] == 1.0
    assert total["node:__internal_head__"] == 1.0
    assert total["memory"] > 0
    assert total["object_store_memory"] > 0
    assert skyray.available_resources()["CPU"] == 3.0


def test_command_line() -> None:
    run = [sys.executable, "-m", "skyray.cli"]
    version = subprocess.run([*run, "--version"], capture_output=True, text=True, timeout=60)
    assert version.stdout == f"skyray, version {skyray.__version__}\n"
    nothing = subprocess.run([*run, "status"], capture_output=True, text=True, timeout=60)
    assert nothing.returncode == 1
    assert "there is none of yours" in nothing.stderr
    with skyray.init(num_cpus=2) as context:
        status = subprocess.run([*run, "status"], capture_output=True, text=True, timeout=60)
        assert status.returncode == 0, status.stderr
        assert context["session_dir"] in status.stdout
        assert "0 / 2  CPU" in status.stdout
