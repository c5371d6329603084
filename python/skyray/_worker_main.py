# SPDX-License-Identifier: Apache-2.0
"""A worker process, from its fork to its end."""

from __future__ import annotations

import atexit
import functools
import io
import os
import signal
import sys
from _signal import SIG_DFL as DEFAULT  # type: ignore[import-not-found]  # See _zygote.
from _signal import signal as set_handler
from typing import Any, Callable

from . import _core, _worker
from ._worker_env import python_path, runtime_env_of

_streams: list[_NamedStream] = []


def prepare() -> None:
    """Makes what is the same in every worker, in the process that they are forked from."""
    for fd in (1, 2):
        # As in a worker, where it is a pipe: a stream finds out once whether it can seek.
        kept = os.dup(fd)
        read, write = os.pipe()
        os.dup2(write, fd)
        _streams.append(_NamedStream(fd))
        os.dup2(kept, fd)
        for used in (kept, read, write):
            os.close(used)
    _name_what_children_print()


def main(order: dict[str, Any]) -> int:
    """Works for one job until told to end; the exit code.

    Args:
        order: the raylet's message to the zygote (docs/design/001-processes.md).
    """
    if not _streams:  # Not the zygote's interpreter: one that was started anew.
        _streams.extend([_NamedStream(1), _NamedStream(2)])
        _name_what_children_print()
    sys.stdout, sys.stderr = _streams
    _core.watch_output(_rename_streams, _flush_streams)
    _take_job_config(order["job"], python_path(order))
    _worker.connect_worker(
        raylet_socket=order["raylet_socket"],
        worker_id=bytes.fromhex(order["worker_id"]),
        job=order["job"],
        namespace=order.get("namespace") or "",
        runtime_env=runtime_env_of(order),
    )
    set_handler(signal.SIGINT, _interrupt)
    set_handler(signal.SIGTERM, _leave_by_signal)
    os.register_at_fork(after_in_child=_take_sigterm_back)
    code = 0
    try:
        try:
            _run()
        except SystemExit as request:
            code = _worker.exit_code_of(request)
            if _core.context()["actor"] is not None:  # A task's end is told by the code alone.
                _core.leave_with(code)
        _end_actor()
        # What the user's code registered; threads of theirs are not waited for.
        atexit._run_exitfuncs()
        _core.forget_actor()
    finally:
        _core.disconnect()
    if _terminated:
        _flush_streams()
        os.kill(os.getpid(), signal.SIGTERM)  # So that everybody sees what has ended it.
    return code


def _end_actor() -> None:
    """What the actor, if this process is one, has to do at its end; it was not killed."""
    shut_down = getattr(_core.context()["actor"], "__ray_shutdown__", None)
    if shut_down is None:
        return
    try:
        shut_down()
    except Exception:
        import traceback

        traceback.print_exc()


_terminated = False


def _leave_by_signal(number: int, frame: Any) -> None:
    """SIGTERM from outside: what the user's code has to do at its end is done first."""
    global _terminated
    _terminated = True
    set_handler(number, DEFAULT)  # Another one ends the process at once.
    raise SystemExit(128 + number)


def _take_sigterm_back() -> None:
    """A process that a task forks ends by the signal, as its parent expects."""
    if signal.getsignal(signal.SIGTERM) is _leave_by_signal:
        set_handler(signal.SIGTERM, DEFAULT)


def _interrupt(number: int, frame: Any) -> None:
    """The core sends the signal; by the time it arrives another task may be running."""
    if _core.is_interrupted():
        raise KeyboardInterrupt


def _run() -> None:
    became = _core.run_worker()
    if became is None:
        return
    from . import _concurrency  # asyncio is a third of a plain worker's memory.

    if isinstance(became, list):
        _concurrency.run_threaded_actor(became)
    else:
        _concurrency.run_async_actor(became)


def _take_job_config(config: dict[str, Any], python_path: list[str]) -> None:
    """Makes imports, files and log records look as they do at the driver.

    Args:
        config: the job's.
        python_path: where to look for modules right after the driver's own directory.
    """
    paths = config.get("sys_path")
    if paths:
        paths = [*paths[:1], *python_path, *paths[1:]]
        sys.path[:] = paths + [path for path in sys.path if path not in paths]
    if config.get("cwd"):
        try:
            os.chdir(config["cwd"])
        except OSError as error:
            print(f"The driver's directory cannot be entered: {error}", file=sys.stderr)
    sys.argv[:] = [""]
    for name in config.get("import_aliases") or []:
        from . import import_alias

        import_alias.install(name)
    if config.get("logging"):
        from .logging_config import LoggingConfig

        LoggingConfig.from_dict(config["logging"])._apply()


class _NamedStream(io.TextIOWrapper):
    """Says whose output follows whenever that changes: a line ``\\x01name:<name>``."""

    def __init__(self, fd: int) -> None:
        raw = io.FileIO(fd, "w", closefd=False)
        super().__init__(
            io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        self._name = ""
        self._at_line_start = True

    def write(self, text: str) -> int:
        if text:
            self.name_what_follows()
            self._at_line_start = text[-1] == "\n"
            if not self._at_line_start:
                _core.flush_after_call()
        return super().write(text)

    @property
    def is_named(self) -> bool:
        return self._name != ""

    def name_what_follows(self) -> None:
        name = _core.current_task_name()
        if name != self._name:
            start = "" if self._at_line_start else "\n"
            super().write(f"{start}\x01name:{name}\n")
            self._name = name
            self._at_line_start = True


def _name_what_children_print() -> None:
    """Has whose output follows said before the user's code starts a process, too.

    That process writes to our descriptors itself, and knows nothing of tasks.
    """

    def naming(start: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(start)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            _name_streams()
            return start(*args, **kwargs)

        return wrapper

    # What subprocess and multiprocessing start theirs with.
    import _posixsubprocess

    _posixsubprocess.fork_exec = naming(_posixsubprocess.fork_exec)
    if "subprocess" in sys.modules:
        import subprocess

        if hasattr(subprocess, "_fork_exec"):
            subprocess._fork_exec = _posixsubprocess.fork_exec
    import posix  # Where pickle looks for them.

    for name in ("system", "posix_spawn", "posix_spawnp"):
        wrapped = naming(getattr(os, name))
        setattr(os, name, wrapped)
        setattr(posix, name, wrapped)
    os.register_at_fork(before=_name_streams)


def _name_streams() -> None:
    for stream in _streams:  # Whatever sys.stdout is by now: a child knows the descriptors alone.
        if not stream.closed:
            stream.name_what_follows()


def _rename_streams() -> None:
    """Says so when another task begins on a stream that has a name: its C code may print."""
    for stream in _streams:
        if stream.is_named and not stream.closed:
            stream.name_what_follows()


def _flush_streams() -> None:
    for stream in _streams:
        if not stream.closed:
            stream.flush()
