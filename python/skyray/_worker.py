# SPDX-License-Identifier: Apache-2.0
"""The one connection that a process has to the cluster, and what the core asks of Python.

All state of the package that changes is here.
"""

from __future__ import annotations

import _thread
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Callable, TextIO

from . import _core, _settings
from ._error_codes import error_for
from .runtime_env import merge

if TYPE_CHECKING:
    from . import _log_dedup
    from ._lifecycle import RayContext
    from ._node import Head

# A function or class of more bytes than these is remarked upon; is refused, as it
# would not fit into a frame.
CODE_WARN_BYTES = 10 << 20
CODE_MAX_BYTES = 60 << 20

_CUDA_VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_OMP_NUM_THREADS = "OMP_NUM_THREADS"
# Set to "1": workers' output is shown as it is, without whose it is.
_NO_LABELS = "SKYRAY_DISABLE_WORKER_LOG_PREFIX"
_DEDUP_LOGS = "SKYRAY_DEDUP_LOGS"


class Connection:
    """What this process knows about its connection.

    Attributes:
        info: of the node, the job and this process.
        namespace: of the names of actors.
        hooks: what the core calls.
        is_worker: not a driver.
        head: the daemons that this process started itself, if it did.
        context: what ``init`` returned; None in a worker.
        main_module: what the job's ``__main__`` is called: its script's name.
        runtime_env: in which this process, or at a driver its job, runs.
    """

    def __init__(
        self,
        info: _core.ConnectInfo,
        namespace: str,
        hooks: Hooks,
        *,
        is_worker: bool,
        head: Head | None,
        main_module: str,
        job_runtime_env: dict[str, Any],
        runtime_env: dict[str, Any],
    ) -> None:
        self.info = info
        self.hooks = hooks
        self.namespace = namespace
        self.is_worker = is_worker
        self.head = head
        self.pid = os.getpid()
        self.context: RayContext | None = None
        self.main_module = main_module
        self.runtime_env = merge(runtime_env, None)
        self._job_runtime_env = merge(job_runtime_env, None).serialize()

    def environment_for(self, asked: dict[str, Any] | None) -> str:
        """The runtime environment of what is submitted here, as the core takes it.

        Args:
            asked: the option ``runtime_env``.
        """
        merged = merge(self.runtime_env, asked).serialize()
        return "" if merged == self._job_runtime_env else merged


_current: Connection | None = None
# In an async actor, until it has been told that get() stops its event loop.
warn_of_blocking = False


# Held while this process connects or leaves.
connecting = _thread.RLock()


def current() -> Connection | None:
    """This process's connection, if it has one."""
    return _current


def connect_driver(
    *,
    raylet_socket: str,
    job: dict[str, Any],
    namespace: str,
    log_to_driver: bool,
    head: Head | None,
    system_config: dict[str, Any] | None,
) -> Connection:
    """Joins the cluster as a driver: the start of a job."""
    return _connect(
        raylet_socket,
        None,
        job,
        namespace,
        head=head,
        log_to_driver=log_to_driver,
        system_config=system_config,
    )


def connect_worker(
    *,
    raylet_socket: str,
    worker_id: bytes,
    job: dict[str, Any],
    namespace: str,
    runtime_env: dict[str, Any],
) -> Connection:
    """Joins the cluster as the worker that the raylet knows as ``worker_id``."""
    return _connect(
        raylet_socket,
        worker_id,
        job,
        namespace,
        head=None,
        log_to_driver=False,
        runtime_env=runtime_env,
    )


def disconnect() -> list[Callable[[], None]]:
    """Leaves the cluster; what is to be called when this process has left it altogether."""
    global _current
    left, _current = _current, None
    if left is None:
        return []
    ended = _core.disconnect()
    left.hooks.hear_out()
    return ended


def _connect(
    raylet_socket: str,
    worker_id: bytes | None,
    job: dict[str, Any],
    namespace: str,
    *,
    head: Head | None,
    log_to_driver: bool,
    runtime_env: dict[str, Any] | None = None,
    system_config: dict[str, Any] | None = None,
) -> Connection:
    global _current
    is_worker = worker_id is not None
    # A line of JSON is to stay one.
    labelled = "logging" not in job and os.environ.get(_NO_LABELS) != "1"
    env_vars = (runtime_env or {}).get("env_vars")
    hooks = Hooks(log_to_driver, labelled=labelled, env_vars=env_vars)
    entrypoint = " ".join(sys.argv) if not is_worker else ""
    info = _core.connect(
        raylet_socket,
        not is_worker,
        worker_id,
        json.dumps(job) if not is_worker else "",
        namespace,
        entrypoint,
        hooks,
        **_settings.of_owners(system_config),
    )
    hooks.node_ip = info["node_ip"]
    job_runtime_env = job.get("runtime_env") or {}
    _current = Connection(
        info,
        namespace,
        hooks,
        is_worker=is_worker,
        head=head,
        main_module=job.get("main_module", "__main__"),
        job_runtime_env=job_runtime_env,
        runtime_env=job_runtime_env if runtime_env is None else runtime_env,
    )
    return _current


class Code:
    """A function or class that workers are to run: pickled once for each connection.

    Args:
        code: the function or class.
        name: how messages call it.
    """

    def __init__(self, code: Any, name: str) -> None:
        self.code = code
        self._name = name
        self._exported: tuple[Connection, bytes] | None = None

    def export(self, connection: Connection) -> bytes:
        """Gives it to the cluster, if need be; its id.

        Raises:
            TypeError: it cannot be pickled.
            ValueError: it is too large.
        """
        if self._exported is not None and self._exported[0] is connection:
            return self._exported[1]
        import hashlib

        from ._serialization import dump_code

        blob = dump_code(self.code, self._name)
        self._check_size(len(blob))
        code_id = hashlib.blake2b(blob, digest_size=28).digest()
        _core.export_function(code_id, blob)
        self._exported = (connection, code_id)
        return code_id

    def _check_size(self, size: int) -> None:
        if size <= CODE_WARN_BYTES:
            return
        what = "The actor" if isinstance(self.code, type) else "The remote function"
        name = f"{getattr(self.code, '__module__', '')}.{self._name}"
        why = (
            "Check that its definition is not implicitly capturing a large array or other object "
            "in scope. Tip: use skyray.put() to put large objects in the skyray object store, and "
            "refer to those."
        )
        if size > CODE_MAX_BYTES:
            raise ValueError(
                f"{what} {name} is too large ({size >> 20} MiB > {CODE_MAX_BYTES >> 20} MiB). {why}"
            )
        _say(f"skyray: {what} {name} is very large ({size >> 20} MiB). {why}", sys.stderr)


class Hooks:
    """What the core calls; see ``_core.pyi``."""

    def __init__(
        self, log_to_driver: bool, *, labelled: bool, env_vars: dict[str, str] | None = None
    ) -> None:
        from . import _serialization

        self.serialize = _serialization.serialize
        self.load_task_error = _serialization.load_task_error
        self.load_failed = _serialization.load_failed
        self.actor_class: type | None = None
        self.error: Callable[[int, str, str], BaseException] = error_for
        self.node_ip = ""
        # As this process was started with it; a lease of GPUs replaces it meanwhile.
        self.devices_given = os.environ.get(_CUDA_VISIBLE_DEVICES)
        chosen = _OMP_NUM_THREADS in (env_vars or ())
        self._sets_threads = not chosen and f"SKYRAY_SETS_{_OMP_NUM_THREADS}" in os.environ
        self._load_code = _serialization.load_code
        self._dump_task_error = _serialization.dump_task_error
        self._user_traceback = _serialization.user_traceback
        self._log_to_driver = log_to_driver
        self._labelled = labelled
        self._printer: _log_dedup.Printer | None = None
        self._print: Callable[[_log_dedup.Printed], None] | None = None
        if log_to_driver and any(name.startswith(_DEDUP_LOGS) for name in os.environ):
            self._choose_print()  # Here it can be said what is wrong with them.

    def load_function(self, blob: bytes) -> Any:
        code = self._load_code(blob)
        if isinstance(code, type):
            self.actor_class = code  # A process holds one actor at most.
        return code

    def is_retryable(self, error: BaseException, which: bytes) -> bool:
        return which == b"*" or isinstance(error, self._load_code(which))

    def task_error(self, error: BaseException, name: str) -> tuple[bytes, str]:
        trace = self._user_traceback(error)
        actor_id: str | None = None
        actor_repr: str | None = None
        binary_id = _core.context()["actor_id"]
        if binary_id.strip(b"\xff"):
            actor_id, actor_repr = binary_id.hex(), self._actor_repr(error)
        payload = self._dump_task_error(error, name, self.node_ip, actor_id, actor_repr, trace)
        return payload, trace

    def _actor_repr(self, error: BaseException) -> str | None:
        actor = _core.context()["actor"]
        trace = error.__traceback__
        # In its __init__ only the frame of that knows the instance.
        while actor is None and trace is not None and self.actor_class is not None:
            found = trace.tb_frame.f_locals.get("self")
            actor = found if isinstance(found, self.actor_class) else None
            trace = trace.tb_next
        if actor is None:
            return None
        try:
            return repr(actor)
        except Exception:
            return object.__repr__(actor)

    def listed_items(self, refs: list[Any]) -> Any:
        from .object_ref_generator import DynamicObjectRefGenerator

        return DynamicObjectRefGenerator(refs)

    def set_accelerators(self, gpu_ids: list[str]) -> None:
        if gpu_ids:
            os.environ[_CUDA_VISIBLE_DEVICES] = ",".join(gpu_ids)
        elif self.devices_given is not None:
            os.environ[_CUDA_VISIBLE_DEVICES] = self.devices_given
        else:
            os.environ.pop(_CUDA_VISIBLE_DEVICES, None)

    def set_threads(self, count: int) -> None:
        # For libraries that are loaded from now on. The zygote's have one thread each.
        if self._sets_threads:
            os.environ[_OMP_NUM_THREADS] = str(count)

    def on_log(self, name: str, pid: int, node_ip: str, is_stderr: bool, lines: list[str]) -> None:
        if not self._log_to_driver:
            return
        label = ""
        if self._labelled:
            elsewhere = f", ip={node_ip}" if node_ip != self.node_ip else ""
            label = f"({name or 'worker'} pid={pid}{elsewhere})"
        from ._log_dedup import Printed  # With threads; most drivers need it later, or never.

        show = self._print or self._choose_print()
        show(Printed((node_ip, pid), label, is_stderr, lines))

    def _choose_print(self) -> Callable[[_log_dedup.Printed], None]:
        from . import _log_dedup

        # A line of JSON is one for a program.
        like_lines = _log_dedup.from_environment() if self._labelled else None
        self._print = _show
        if like_lines is not None:
            self._printer = _log_dedup.Printer(like_lines, _show)
            self._print = self._printer.take
        return self._print

    def hear_out(self) -> None:
        """Shows what is held back of the workers' output."""
        if self._printer is not None:
            self._printer.close()

    def on_failure(self, what: str, error: BaseException) -> None:
        from . import _failures

        _failures.tell(what, error)

    def on_notice(self, text: str, is_error: bool) -> None:
        _say(f"skyray: {text}", sys.stderr)


def exit_code_of(request: SystemExit) -> int:
    """What the process is to end with; a text is printed, as Python does."""
    if request.code is None or isinstance(request.code, int):
        return request.code or 0
    _say(str(request.code), sys.stderr)
    return 1


def remark_on_blocking() -> None:
    """Says once, in an async actor, that the call stops everything else on its event loop."""
    global warn_of_blocking
    import asyncio
    import logging

    if asyncio._get_running_loop() is None:
        return  # A thread of the actor's.
    warn_of_blocking = False
    logging.getLogger(__package__).warning(
        "Using blocking skyray.get inside async actor. This blocks the event loop. Please use "
        "`await` on object ref with asyncio.gather if you want to yield execution to the event "
        "loop instead."
    )


def _show(printed: _log_dedup.Printed) -> None:
    stream = sys.stderr if printed.is_stderr else sys.stdout
    label = f"{printed.label} " if printed.label else ""
    if label and stream.isatty():
        label = f"\x1b[36m{printed.label}\x1b[0m "
    _say("\n".join(f"{label}{line}" for line in printed.lines), stream)


def _say(lines: str, stream: TextIO) -> None:
    """As print() does, but with its line's end: several threads may have something to say."""
    stream.write(f"{lines}\n")
    stream.flush()


def _forget_in_child() -> None:
    global _current, connecting
    if _current is not None:
        _current = None
        _core.after_fork_in_child()
    connecting = _thread.RLock()  # A thread that is not here may have had it.


os.register_at_fork(after_in_child=_forget_in_child)
