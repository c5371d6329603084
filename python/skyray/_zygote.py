# SPDX-License-Identifier: Apache-2.0
"""The warm process from which a raylet's workers are forked: python -m skyray._zygote --fd N.

``--board M`` is the memory in which they mark how far they are (cpp/src/common/progress_board.h).

It has imported what every worker needs and nothing of the user's, runs one thread,
and does three things: fork, reap, report (docs/design/001-processes.md). A child
goes on in :mod:`skyray._worker_main`.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import select
import signal
import sys

# The C function: the one in Python looks everything up in enums, in a child at the cost of
# copied pages. It knows the default by identity.
from _signal import SIG_DFL as DEFAULT  # type: ignore[import-not-found]
from _signal import signal as set_handler
from typing import Any, NoReturn

from . import _core, _worker_env
from ._channel import Channel, Closed

_KIND = 100


class Zygote:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._job: tuple[str, dict[str, Any]] = ("{}", {})  # The last one, as text and read.
        # Children of one zygote must not draw the same numbers, those of two hardly ever.
        self._next_seed = int.from_bytes(os.urandom(8), "little")
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serves the raylet until it is gone."""
        self._channel.send({"event": "ready", "pid": self._pid})
        poll = select.poll()
        poll.register(self._channel.socket, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._woken:
                    os.read(self._woken, 4096)
                    self._reap()
                else:
                    # All of a read before the first fork: a child must not find
                    # another's descriptors among its own.
                    for message, fds in self._channel.receive():
                        self._serve(message, fds)

    def _serve(self, order: dict[str, Any], fds: list[int]) -> None:
        worker_id = order.get("worker_id", "")
        if order.get("op") != "fork" or len(fds) != 2:
            message = f"the zygote does not understand {order.get('op')!r} with {len(fds)} fds"
            self._report_failure(worker_id, message, fds)
            return
        try:
            # What is done here is not done in the child, on copied pages.
            order["job"] = self._job_of(order.get("job_config") or "{}")
        except ValueError as error:
            self._report_failure(worker_id, f"the job's configuration is no JSON: {error}", fds)
            return
        self._next_seed = (self._next_seed + 1) % 2**64
        _reseed(self._next_seed)
        try:
            pid = _core.fork_alone()
        except OSError as error:
            message = f"fork failed: {error.strerror} (errno {error.errno}); is there a limit on "
            message += "processes (ulimit -u, pids.max) or memory?"
            self._report_failure(worker_id, message, fds)
            return
        if pid == 0:
            self._become_worker(order, fds)
        for fd in fds:
            os.close(fd)
        self._channel.send({"event": "forked", "worker_id": worker_id, "pid": pid})

    def _job_of(self, config: str) -> dict[str, Any]:
        """
        Raises:
            ValueError: it is not an object in JSON.
        """
        if config != self._job[0]:
            job = json.loads(config)
            if not isinstance(job, dict):
                raise ValueError(f"{type(job).__name__} instead of an object")
            self._job = (config, job)
        return self._job[1]

    def _report_failure(self, worker_id: str, message: str, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        self._channel.send({"event": "fork_failed", "worker_id": worker_id, "message": message})

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._channel.send({"event": "exited", "pid": pid, "status": status})

    def _become_worker(self, order: dict[str, Any], fds: list[int]) -> NoReturn:
        try:
            _core.die_with(self._pid)
            signal.set_wakeup_fd(-1)
            set_handler(signal.SIGCHLD, DEFAULT)
            set_handler(signal.SIGINT, signal.default_int_handler)
            os.setsid()  # A group of its own, with what the user's code starts.
            os.close(self._woken)
            os.close(self._wake)
            self._channel.abandon()
            _core.take_stdio(*fds)
            _core.take_place(order.get("progress_place", -1))
            gc.enable()
            _worker_env.enter(order)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        work(order)


def work(order: dict[str, Any]) -> NoReturn:
    """What a child does once it has its descriptors and its environment."""
    code = 1
    try:
        from . import _worker_main

        code = _worker_main.main(order)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _reseed(seed: int) -> None:
    """What the next child draws.

    Args:
        seed: 0 ≤ seed < 2^64; each child of a zygote has another.
    """
    random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(seed % 2**32)


def _warm_up() -> None:
    """Imports what workers need, so that they are born with it."""
    import importlib

    for name in ("_core", "_serialization", "_worker", "api", "actor"):
        importlib.import_module(f"skyray.{name}")
    for name in ("numpy", "numpy.random", "asyncio"):
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # numpy is the user's choice.
    from . import _worker_main

    _worker_main.prepare()


def _descriptors(arguments: list[str]) -> dict[str, int] | None:
    """What was given, by its name; None if that makes no sense."""
    names, numbers = arguments[::2], arguments[1::2]
    if names not in (["--fd"], ["--fd", "--board"]) or len(numbers) != len(names):
        return None
    if not all(number.isdigit() for number in numbers):
        return None
    return dict(zip(names, map(int, numbers)))


def main(arguments: list[str]) -> int:
    fds = _descriptors(arguments)
    if fds is None:
        usage = "python -m skyray._zygote --fd N [--board N] (started by a raylet)"
        print(f"usage: {usage}", file=sys.stderr)
        return 2
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]  # "-m" put it there; nothing of the user's belongs into a zygote.
    _core.die_with(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(2)  # For its children, too: where in Python a crash was.
    if "--board" in fds:
        _core.map_board(fds["--board"])
        os.close(fds["--board"])
    channel = Channel(fds["--fd"], _KIND)
    os.set_inheritable(channel.socket.fileno(), False)
    _warm_up()
    # What is alive now lives as long as the process: no collection has to look at
    # it, and so to copy the pages it is on, in any child.
    gc.collect()
    gc.disable()
    gc.freeze()
    try:
        Zygote(channel).run()
    except Closed:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
