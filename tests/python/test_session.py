# SPDX-License-Identifier: Apache-2.0
"""The session directory: whose it is, what is in it, and what is left of old ones."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyray import _session


@pytest.fixture(autouse=True)
def _tmpdir(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:  # Its path is short.
        monkeypatch.setenv("SKYRAY_TMPDIR", folder)
        yield


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_directories_and_token_are_for_the_owner_alone() -> None:
    session = _session.create()
    assert mode(os.path.dirname(session)) == 0o700
    assert mode(session) == 0o700
    token = os.path.join(session, "token")
    assert mode(token) == 0o600
    assert len(bytes.fromhex(Path(token).read_text())) == 32
    assert _session.is_live(session)
    assert _session.live_sessions() == [session]


def test_two_sessions_of_one_process_differ() -> None:
    assert _session.create() != _session.create()


def test_parent_that_others_may_enter_is_refused() -> None:
    parent = _session.parent_dir()
    os.chmod(parent, 0o755)
    with pytest.raises(PermissionError, match=r"must be a directory .* mode 0700.*drwxr-xr-x"):
        _session.create()


def test_parent_that_is_a_link_is_refused(tmp_path: Path) -> None:
    parent = _session.parent_dir()
    os.rmdir(parent)
    os.symlink(tmp_path, parent)
    with pytest.raises(PermissionError):
        _session.create()


def test_path_too_long_for_a_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    monkeypatch.setenv("SKYRAY_TMPDIR", str(deep))
    with pytest.raises(ValueError, match=r"bytes too long .*Set SKYRAY_TMPDIR to a shorter"):
        _session.create()


def test_sessions_of_ended_processes_are_pruned() -> None:
    ended = []
    for _ in range(_session._ENDED_SESSIONS_KEPT + 3):
        session = _session.create()
        Path(session, "owner").write_text("1 0")  # Process 1 started at another time.
        Path(session, "gcs.sock").touch()
        Path(session, "n-0123").mkdir()
        ended.append(session)
    live = _session.create()
    parent = os.path.dirname(live)
    assert sorted(os.listdir(parent)) == sorted(
        os.path.basename(path) for path in [*ended[3:], live]
    )
    assert sorted(os.listdir(ended[-1])) == ["logs", "owner"]
    assert _session.live_sessions() == [live]
