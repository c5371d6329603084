# SPDX-License-Identifier: Apache-2.0
"""Daemons, played by small scripts: how they start, fail and end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from skyray._daemon import Daemon, find_binary


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKYRAY_BIN_DIR", str(tmp_path))
    return tmp_path


def start(folder: Path, script: str, *arguments: str, pass_fd: int | None = None) -> Daemon:
    program = folder / "player"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o700)
    return Daemon("player", arguments, str(folder / "player.log"), pass_fd=pass_fd)


def test_ready_and_asked_to_end(folder: Path) -> None:
    daemon = start(folder, "echo ready >&3; exec 3>&-; exec sleep 600")
    daemon.wait_ready()
    daemon.stop()
    assert not Path(f"/proc/{daemon.pid}").exists()


def test_one_that_ignores_the_request_is_made_to_end(folder: Path) -> None:
    daemon = start(
        folder, "trap '' TERM; echo ready >&3; exec 3>&-; while :; do read -t 600; done < <(:)"
    )
    daemon.wait_ready()
    daemon.stop()
    assert not Path(f"/proc/{daemon.pid}").exists()


def test_what_it_says_went_wrong_is_told_with_its_log(folder: Path) -> None:
    daemon = start(folder, "echo the log line >&2; echo 'error: no such node.' >&3")
    with pytest.raises(
        RuntimeError, match=r"(?s)player could not start: no such node.*the log line"
    ):
        daemon.wait_ready()
    daemon.stop()


def test_signal_that_killed_it_is_told(folder: Path) -> None:
    daemon = start(folder, "kill -SEGV $$")
    with pytest.raises(RuntimeError, match="killed by SIGSEGV"):
        daemon.wait_ready()
    daemon.stop()


def test_exit_code_is_told(folder: Path) -> None:
    daemon = start(folder, "exit 3")
    with pytest.raises(RuntimeError, match=r"exit code 3.*(?s:.*)player.log is empty"):
        daemon.wait_ready()
    daemon.stop()


def test_program_that_is_not_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nobody.*SKYRAY_BIN_DIR"):
        find_binary("nobody")


def test_it_inherits_what_it_is_meant_to_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    leaked = os.open(tmp_path / "leaked", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(leaked, True)
    passed_read, passed_write = os.pipe()
    try:
        script = "ls -l /proc/$$/fd; readlink /proc/$$/fd/0; echo to the pipe >&4; echo ready >&3"
        daemon = start(folder, script, pass_fd=passed_write)
        daemon.wait_ready()
        daemon.stop()
        assert os.read(passed_read, 100) == b"to the pipe\n"
        listing = (folder / "player.log").read_text()
        assert "leaked" not in listing
        assert "/dev/null" in listing
    finally:
        for fd in (leaked, passed_read, passed_write):
            os.close(fd)


def test_interrupt_from_the_keyboard_does_not_reach_it(folder: Path) -> None:
    daemon = start(folder, "echo ready >&3; exec 3>&-; exec sleep 600")
    daemon.wait_ready()
    assert os.getsid(daemon.pid) == daemon.pid != os.getsid(0)
    assert daemon.pidfd >= 0
    signal.pidfd_send_signal(daemon.pidfd, 0)
    daemon.kill()
    assert daemon.pidfd < 0
