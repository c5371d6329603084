# SPDX-License-Identifier: Apache-2.0
"""``plasma_store``, the store as a program of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest

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
    assert run("--help").stdout.startswith("usage: plasma_store -m BYTES -s SOCKET\n")
    version = run("--version")
    assert version.returncode == 0
    assert version.stdout.startswith("plasma_store (skyray) ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fast"], "unrecognized option '--fast'"),
        (["-m", "much", "-s", "/tmp/s"], "-m takes a number of bytes, like 512M, not 'much'"),
        (["-m", "99999999999G", "-s", "/tmp/s"], "-m takes a number of bytes"),
        (["-m", "1", "-s", "/tmp/s"], "memory of 1 bytes is not in 1048576"),
        (["-m", "1M"], "the store needs a socket path"),
        (["-m", "1M", "-s", "/tmp/s", "more"], "unexpected argument 'more'"),
    ],
)
def test_what_makes_no_sense_is_said(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert "plasma_store --help" in result.stderr


def test_a_place_it_cannot_listen_at_is_said() -> None:
    result = run("-m", "1M", "-s", "/nowhere/at/all")
    assert result.returncode == 1
    assert "cannot start: bind /nowhere/at/all: No such file or directory" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_asked_to_end(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "store.sock"
    with subprocess.Popen(
        [find_binary("plasma_store"), "-m", "64M", "-s", str(path)],
        stderr=subprocess.PIPE,
        text=True,
    ) as store:
        assert store.stderr is not None
        assert "serving 67108864 bytes" in store.stderr.readline()
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            store.send_signal(number)
            assert client.recv(1) == b""
        assert store.wait(60) == 0
    assert not path.exists()
