# SPDX-License-Identifier: Apache-2.0
"""The directory of a session: sockets, token and logs, for one user's eyes only."""

from __future__ import annotations

import os
import shutil
import stat
import time

from ._spilling import FOLDER_PREFIX

_SOCKET_PATH_MAX = 107  # sun_path less its final zero.
_LONGEST_NAME = len("/n-01234567/w-0123456789abcdef")
_ENDED_SESSIONS_KEPT = 10  # For their logs.


def parent_dir() -> str:
    """``${SKYRAY_TMPDIR:-/tmp}/skyray-<uid>``, made if need be.

    Raises:
        PermissionError: it is not ours alone.
        OSError: it cannot be made.
    """
    base = os.environ.get("SKYRAY_TMPDIR") or "/tmp"
    path = os.path.join(os.path.abspath(base), f"skyray-{os.getuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{path} must be a directory that belongs to uid {os.getuid()} with mode 0700, but it "
            f"belongs to uid {found.st_uid} and has mode {stat.filemode(found.st_mode)}. Remove "
            "it, or set SKYRAY_TMPDIR to another directory."
        )
    return path


def create() -> str:
    """Makes a session directory with its token; its path.

    Raises:
        PermissionError, OSError: as :func:`parent_dir`.
        ValueError: its path would be too long for a socket's.
    """
    parent = parent_dir()
    _prune(parent)
    now = time.time()
    date = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now))
    path = os.path.join(parent, f"session_{date}_{int(now * 1e6) % 1_000_000:06}_{os.getpid()}")
    room = _SOCKET_PATH_MAX - _LONGEST_NAME - len(os.fsencode(path))
    if room < 0:
        raise ValueError(
            f"The session directory {path} is {-room} bytes too long for the paths of unix "
            f"sockets, which end at {_SOCKET_PATH_MAX}. Set SKYRAY_TMPDIR to a shorter directory."
        )
    os.mkdir(path, 0o700)
    os.mkdir(os.path.join(path, "logs"), 0o700)
    _write_new(os.path.join(path, "token"), os.urandom(32).hex())
    _write_new(os.path.join(path, "owner"), f"{os.getpid()} {_start_time(os.getpid())}")
    return path


def end(session_dir: str) -> None:
    """Its processes have ended: nobody is to take it for a live one."""
    remove_sockets(session_dir)
    try:
        with open(os.path.join(session_dir, "owner"), "w"):
            pass
    except FileNotFoundError:
        pass  # The user has removed it all.


def remove_sockets(session_dir: str) -> None:
    """What a daemon that was killed could not take away itself."""
    for entry in _entries(session_dir):
        if entry.name.startswith(("n-", FOLDER_PREFIX)):
            shutil.rmtree(entry.path, ignore_errors=True)
        elif entry.name.endswith(".sock") or entry.name == "token":
            os.unlink(entry.path)


def is_live(session_dir: str) -> bool:
    """Whether the process that made it still runs."""
    try:
        with open(os.path.join(session_dir, "owner")) as file:
            pid, start_time = file.read().split()
    except (OSError, ValueError):
        return False
    return _start_time(int(pid)) == start_time


def live_sessions() -> list[str]:
    """Session directories of this user whose processes run, the newest last."""
    sessions = [e.path for e in _entries(parent_dir()) if e.name.startswith("session_")]
    return sorted(path for path in sessions if is_live(path))


def _prune(parent: str) -> None:
    sessions = sorted(e.path for e in _entries(parent) if e.name.startswith("session_"))
    # One without an owner yet may be in the making, by another process.
    ended = [p for p in sessions if os.path.exists(os.path.join(p, "owner")) and not is_live(p)]
    for path in ended:
        remove_sockets(path)
    for path in ended[:-_ENDED_SESSIONS_KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except FileNotFoundError:
        return []


def _write_new(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _start_time(pid: int) -> str:
    """When ``pid`` was started, in ticks since boot; "" if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""
