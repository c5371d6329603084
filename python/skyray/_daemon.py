# SPDX-License-Identifier: Apache-2.0
"""Starts a daemon, hears whether it is ready, and ends it."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence

_READY_TIMEOUT_S = 30.0
_TERM_TIMEOUT_S = 2.0
_LOG_TAIL_LINES = 20
# What Python ignores or blocks and a child must not find so.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


def find_binary(name: str) -> str:
    """The path of one of our programs: $SKYRAY_BIN_DIR, or what the wheel brought.

    Raises:
        FileNotFoundError: it is not there.
    """
    folder = os.environ.get("SKYRAY_BIN_DIR") or os.path.join(os.path.dirname(__file__), "bin")
    path = os.path.join(folder, name)
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(
            f"There is no program {path}. Install the skyray wheel, or set SKYRAY_BIN_DIR to the "
            "directory where a build left its programs."
        )
    return path


class Daemon:
    """A child process that says when it is ready.

    Args:
        name: of the program.
        arguments: without the program's name and --ready-fd.
        log_path: where its stdout and stderr go.
        pass_fd: a descriptor that it gets under the number ``PASSED_FD``.
        environment: of the daemon.

    Raises:
        FileNotFoundError: the program is not there.
        OSError: it cannot be started.
    """

    READY_FD = 3
    PASSED_FD = 4

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log_path: str,
        *,
        pass_fd: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        program = find_binary(name)
        command = [program, *arguments, "--ready-fd", str(self.READY_FD)]
        opened = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._ready, ready = os.pipe2(os.O_CLOEXEC)
        # From above the numbers they are to have, so that none is overwritten.
        log, *high = (
            _above(fd, self.PASSED_FD) for fd in (opened, ready, pass_fd) if fd is not None
        )
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ]
        actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable()]
        for number, fd in zip((self.READY_FD, self.PASSED_FD), high):
            actions.append((os.POSIX_SPAWN_DUP2, fd, number))
        try:
            self.pid = os.posix_spawn(
                program,
                command,
                os.environ if environment is None else environment,
                file_actions=actions,
                setsid=True,  # Ctrl-C is for the driver alone.
                setsigmask=[],
                setsigdef=_DEFAULT_SIGNALS,
            )
        except BaseException:
            os.close(self._ready)
            raise
        finally:
            for fd in (opened, ready, log, *high):
                os.close(fd)
        self.pidfd = os.pidfd_open(self.pid)

    def wait_ready(self) -> None:
        """Waits for the daemon to say that it is ready.

        Raises:
            RuntimeError: it says why it cannot be, ends, or stays silent.
        """
        said = b""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not said.endswith(b"\n"):
            if not _readable(self._ready, deadline - time.monotonic()):
                raise self._failure(f"did not say that it is ready within {_READY_TIMEOUT_S:.0f} s")
            part = os.read(self._ready, 4096)
            if not part:
                break
            said += part
        os.close(self._ready)
        self._ready = -1
        text = said.decode(errors="replace").strip()
        if text != "ready":
            how = text.removeprefix("error: ") or self._how_it_ended()
            raise self._failure(f"could not start: {how}")

    def stop(self) -> None:
        """Asks it to end, and makes it after 2 s. Waits until it has ended."""
        if self.pidfd < 0:
            return
        self._signal(signal.SIGTERM)
        if not _readable(self.pidfd, _TERM_TIMEOUT_S):
            self._signal(signal.SIGKILL)
        self._reap()

    def kill(self) -> None:
        """Ends it at once. Waits until it has ended."""
        if self.pidfd >= 0:
            self._signal(signal.SIGKILL)
            self._reap()

    def _signal(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass  # It has been reaped, by a waitpid(-1) of the user's.

    def _reap(self) -> None:
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass
        for fd in (self.pidfd, self._ready):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self._ready = -1

    def _how_it_ended(self) -> str:
        if not _readable(self.pidfd, _TERM_TIMEOUT_S):
            return "it said nothing"
        try:
            _, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return "it ended"
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        return f"it ended with exit code {code}"

    def _failure(self, what: str) -> RuntimeError:
        try:
            with open(self.log_path, errors="replace") as file:
                tail = "".join(f"  {line}" for line in file.readlines()[-_LOG_TAIL_LINES:])
        except OSError:
            tail = ""
        return RuntimeError(
            f"{self.name} {what}.\n"
            + (f"The end of {self.log_path}:\n{tail}" if tail else f"{self.log_path} is empty.")
        )


def _readable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def _above(fd: int, lowest: int) -> int:
    """A duplicate of ``fd`` whose number is greater than ``lowest``."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest + 1)


def _inheritable() -> list[int]:
    """Descriptors that a child would get though nobody meant it to."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if fd > 2 and os.get_inheritable(fd):
                found.append(fd)
        except OSError:
            continue  # The listing's own.
    return found
