# SPDX-License-Identifier: Apache-2.0
"""``plasma_store``, the store as a program of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from skyray import plasma
from skyray._daemon import find_binary


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_binary("plasma_store"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_and_version_are_told() -> None:
    assert run("--help").stdout.startswith("usage: plasma_store -m BYTES -s SOCKET [-d DIR] ")
    version = run("--version")
    assert version.returncode == 0
    assert version.stdout.startswith("plasma_store (skyray) ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fast"], "unrecognized option '--fast'"),
        (["-s", "/tmp/s", "-m"], "option '-m' needs a value"),
        (["-m", "much", "-s", "/tmp/s"], "-m takes a number of bytes, like 512M, not 'much'"),
        (["-m", "99999999999G", "-s", "/tmp/s"], "-m takes a number of bytes"),
        (["-m", "1", "-s", "/tmp/s"], "memory of 1 bytes is not in 1048576"),
        (["-m", "1M"], "the store needs a socket path: -s SOCKET"),
        (["-s", "/tmp/s"], "the store's memory is missing: -m BYTES"),
        (["-m", "1M", "-s", "/tmp/s", "more"], "unexpected argument 'more'"),
    ],
)
def test_what_makes_no_sense_is_said(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert result.stderr.endswith("; see 'plasma_store --help'\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-s", "/nowhere/at/all"], "bind /nowhere/at/all: No such file or directory"),
        (["-d", "/nowhere"], "the directory /nowhere: No such file or directory"),
        (["--fallback", "/nowhere"], "name another fallback directory, or none"),
        (["-d", "/proc"], "the store's memory cannot be there"),
        (["-m", "60000G"], "the store's 58.5 TiB are more than the "),
        (["-m", "60000G", "--hugepages"], "sysctl vm.nr_hugepages="),
    ],
)
def test_what_this_machine_cannot_do_is_said(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    result = run("-m", "1M", "-s", str(tmp_path / "s"), *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith("plasma_store: cannot start: ")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


class Store:
    """A running ``plasma_store``, and what it has said so far."""

    def __init__(self, socket_path: Path, *arguments: str, before: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, find_binary("plasma_store"), "-s", str(socket_path), *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        # It listens when it has said what it chose.
        self.first_line = self.process.stderr.readline()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_asked_to_end(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "store.sock"
    with Store(path, "-m", "64M") as store:
        assert f"64 MiB in a memfd; no fallback directory; on {path}" in store.first_line
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            store.process.send_signal(number)
            assert client.recv(1) == b""
        assert store.process.wait(60) == 0
    assert not path.exists()


def test_a_client_hears_that_the_store_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    with Store(path, "-m", "64M") as store:
        client = plasma.connect(str(path))
        object_id = client.put("kept")
        assert client.get(object_id) == "kept"
        assert store.end(signal.SIGTERM) == 0
        with pytest.raises(plasma.PlasmaError):
            client.contains(plasma.ObjectID.from_random())


def test_a_socket_that_is_in_use_is_left_to_its_store(tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    with Store(path, "-m", "1M") as first:
        second = run("-m", "1M", "-s", str(path))
        assert second.returncode == 1
        assert f"a process listens on {path} already; choose another path" in second.stderr
        assert plasma.connect(str(path)).list() == {}
        assert first.end(signal.SIGTERM) == 0


def test_what_a_killed_store_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    with Store(path, "-m", "1M") as first:
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    assert path.exists()
    with Store(path, "-m", "1M") as second:
        assert plasma.connect(str(path)).list() == {}
        assert second.end(signal.SIGTERM) == 0
    assert not path.exists()


def test_a_file_in_its_way_is_no_socket_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("thesis")
    result = run("-m", "1M", "-s", str(path))
    assert result.returncode == 1
    assert f"{path} exists and is no socket" in result.stderr
    assert path.read_text() == "thesis"


def test_its_memory_can_be_a_file_in_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    memory = tmp_path / "memory"
    memory.mkdir()
    with Store(path, "-m", "32M", "-d", str(memory), "--fallback", str(tmp_path)) as store:
        assert f"32 MiB reserved in {memory} (" in store.first_line
        assert f"fallback in {tmp_path}, " in store.first_line
        assert list(memory.iterdir()) == [], "it has no name, and so cannot be left behind"
        assert store.end(signal.SIGTERM) == 0


def test_a_small_dev_shm_is_an_error_or_no_matter(tmp_path: Path) -> None:
    inside = (
        "unshare",
        "-m",
        "sh",
        "-c",
        'mount -t tmpfs -o size=64m none /dev/shm && exec "$@"',
        "sh",
    )
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], check=False).returncode:
        pytest.skip("mounting in a namespace of its own is not permitted here")
    path = tmp_path / "store.sock"
    with Store(path, "-m", "256M", before=inside) as store:
        assert "256 MiB in a memfd (not bound by /dev/shm, which has 64 MiB)" in store.first_line
        assert store.end(signal.SIGTERM) == 0
    refused = subprocess.run(
        [*inside, find_binary("plasma_store"), "-s", str(path), "-m", "256M", "-d", "/dev/shm"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "the store needs 256 MiB, and the directory /dev/shm has 64 MiB free" in refused.stderr
    assert "a memfd needs none" in refused.stderr


def test_what_is_larger_than_the_store_goes_to_the_fallback_directory(tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    value = bytes(range(256)) * (4 << 12)
    with Store(path, "-m", "1M", "--fallback", str(tmp_path)) as store:
        client = plasma.connect(str(path))
        assert client.get(client.put(value)) == value
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "files have no names"
        assert store.end(signal.SIGTERM) == 0
    with Store(path, "-m", "1M") as store:
        with pytest.raises(plasma.PlasmaStoreFull):
            plasma.connect(str(path)).put(value)
        assert store.end(signal.SIGTERM) == 0
