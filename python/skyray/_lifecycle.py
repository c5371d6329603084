# SPDX-License-Identifier: Apache-2.0
"""How a process comes to be part of a cluster, and leaves it."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import _core, _worker
from ._version import __version__
from .exceptions import RayError, RaySystemError

if TYPE_CHECKING:
    from types import TracebackType

    from ._node import Head

ADDRESS_VARIABLE = "SKYRAY_ADDRESS"
AUTO_INIT_VARIABLE = "SKYRAY_ENABLE_AUTO_CONNECT"
LOGGING_VARIABLE = "SKYRAY_LOGGING_CONFIG_ENCODING"


class RayContext(Mapping[str, Any]):
    """What ``init`` returns: facts about the cluster by name; ``with`` shuts it down."""

    dashboard_url = ""

    def __init__(self, address_info: dict[str, Any]) -> None:
        self.address_info = address_info
        self.python_version = ".".join(map(str, sys.version_info[:3]))
        self.ray_version = __version__
        self.ray_commit = ""

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def __enter__(self) -> RayContext:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        facts = {"address": self["address"], "session_dir": self["session_dir"]}
        return f"RayContext({', '.join(f'{name}={fact!r}' for name, fact in facts.items())})"

    def disconnect(self) -> None:
        """Leaves the cluster, as ``shutdown`` does."""
        shutdown()


def ensure_connected() -> _worker.Connection:
    """This process's connection; a cluster of its own if there is none."""
    connection = _worker.current()
    if connection is not None:
        return connection
    if os.environ.get(AUTO_INIT_VARIABLE) == "0":
        raise RaySystemError(
            f"skyray has not been started in this process, and {AUTO_INIT_VARIABLE}=0 says that "
            "it must not start by itself. Call skyray.init() first."
        )
    if _exiting:
        raise RaySystemError("Python is exiting: the cluster that this process had has ended.")
    from .api import init

    with _worker.connecting:
        if _worker.current() is None:
            init()
        connection = _worker.current()
    assert connection is not None
    return connection


def start(
    *,
    address: str | None,
    node_options: dict[str, Any],
    namespace: str | None,
    runtime_env: dict[str, Any] | None,
    logging_config: Any,
    log_to_driver: bool,
) -> RayContext:
    """Starts a cluster or joins one; see ``skyray.init``.

    Args:
        address: None or "local" for a new one, "auto", or a session directory.
        node_options: of ``NodeOptions``, as given; those that are None included.
        namespace: of the names of actors; None: one of this job's own.
        runtime_env: of the job.
        logging_config: of the job; see ``skyray.LoggingConfig``.
        log_to_driver: whether workers' output is shown here.

    Raises:
        ValueError, TypeError: an argument that cannot be.
        ConnectionError: there is no such cluster.
        RuntimeError: a daemon did not start; with the end of its log.
    """
    address = address or os.environ.get(ADDRESS_VARIABLE) or "local"
    job = _job_config(runtime_env or {}) | _set_up_logging(logging_config)
    head: Head | None = None
    system_config: dict[str, Any] | None = node_options.get("_system_config")
    if address == "local":
        from ._node import Head as NewHead
        from ._node import NodeOptions

        head = NewHead(NodeOptions(**node_options))
        # While the daemons start, what the first call needs anyway.
        from . import _serialization  # noqa: F401

        assert head.raylet is not None
        head.wait_ready()
        session_dir, raylet_socket = head.session_dir, head.raylet.socket
    else:
        given = sorted(name for name, value in node_options.items() if value is not None)
        given = [name for name in given if name not in ("node_ip", "node_name")]
        if given:
            raise ValueError(
                f"When connecting to an existing cluster, {' and '.join(given)} must not be "
                "provided: its nodes have been started. Leave them out, or start a cluster of "
                'your own with init(address="local").'
            )
        session_dir, raylet_socket = _find_session(address)
        from . import _settings

        system_config = _settings.kept(session_dir)
    if namespace is None:
        namespace = _random_namespace()
    try:
        connection = _worker.connect_driver(
            raylet_socket=raylet_socket,
            job=job,
            namespace=namespace,
            log_to_driver=log_to_driver,
            head=head,
            system_config=system_config,
        )
    except BaseException:
        if head is not None:
            head.stop()
        raise
    _end_well_by_sigterm()
    connection.context = _context(connection, session_dir, raylet_socket)
    return connection.context


def shutdown() -> None:
    """Leaves the cluster, and ends it if this process started it."""
    waiting: list[Callable[[], None]] = []
    try:
        with _worker.connecting:
            connection = _worker.current()
            if connection is not None and not connection.is_worker:
                _hear_out()
            waiting = _worker.disconnect()
            head = None if connection is None else connection.head
            if connection is not None and head is not None and connection.pid == os.getpid():
                head.stop()
    finally:
        _tell(waiting)


def _tell(waiting: list[Callable[[], None]]) -> None:
    """That it has ended: futures, whose callbacks are the user's, and may do what they like."""
    for tell in waiting:
        try:
            tell()
        except Exception:
            import traceback

            traceback.print_exc()


def _hear_out() -> None:
    """Waits for the output that workers wrote before this call.

    It lies in pipes that the raylet reads before it has the answer to this question,
    and comes over the same connection, ahead of that answer.
    """
    try:
        _core.kv_exists("", b"hear-out")
    except RayError:
        pass  # The cluster is gone, and with it what there was to hear.


def _find_session(address: str) -> tuple[str, str]:
    """(session directory, a raylet's socket) of a cluster that runs here."""
    from . import _session

    if address == "auto":
        live = _session.live_sessions()
        if len(live) != 1:
            found = f"{len(live)} of yours run here: {', '.join(live)}" if live else "none of yours"
            raise ConnectionError(
                f'address="auto" wants exactly one cluster on this machine, but there is {found}. '
                f"Start one with init(), or give the session directory as address or in "
                f"{ADDRESS_VARIABLE}."
            )
        session_dir = live[0]
    elif os.path.isdir(address):
        session_dir = os.path.abspath(address)
        if os.stat(session_dir).st_uid != os.getuid():
            raise ConnectionError(
                f"The session {session_dir} belongs to uid {os.stat(session_dir).st_uid}, and this "
                f"is uid {os.getuid()}."
            )
    else:
        raise ConnectionError(
            f"There is no cluster at address={address!r}. This version of skyray connects to "
            'clusters on this machine: give a session directory, "auto", or "local" for a new one.'
        )
    for entry in sorted(os.listdir(session_dir)):
        socket = os.path.join(session_dir, entry, "raylet.sock")
        if entry.startswith("n-") and os.path.exists(socket):
            return session_dir, socket
    raise ConnectionError(f"No node of the cluster in {session_dir} runs any more.")


def _job_config(runtime_env: dict[str, Any]) -> dict[str, Any]:
    """What the job's workers take over from this process."""
    from .runtime_env import check, merge

    check(runtime_env)
    cwd = os.getcwd()
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    alias = sys.modules.get("skyray.import_alias")  # Who has used it has imported it.
    paths = [os.path.abspath(path) if path else cwd for path in sys.path]
    if script and os.path.dirname(os.path.abspath(script)) not in paths:
        paths.insert(0, os.path.dirname(os.path.abspath(script)))
    return {
        "sys_path": paths,
        "cwd": cwd,
        "runtime_env": merge({}, runtime_env),
        "main_module": os.path.splitext(os.path.basename(script))[0] if script else "__main__",
        "import_aliases": alias.installed() if alias else [],
    }


def _set_up_logging(given: Any) -> dict[str, Any]:
    """Sets this process up as asked; what the job's workers take over of that."""
    encoding = os.environ.get(LOGGING_VARIABLE)
    if given is None and encoding:
        given = {"encoding": encoding}
    if given is None:
        return {}
    from . import logging_config

    chosen = logging_config.checked(given)
    chosen._apply()
    return {"logging": chosen.to_dict()}


def _random_namespace() -> str:
    digits = os.urandom(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _context(connection: _worker.Connection, session_dir: str, raylet_socket: str) -> RayContext:
    info = connection.info
    folder = os.path.dirname(raylet_socket)
    return RayContext(
        {
            "node_ip_address": info["node_ip"],
            "redis_address": None,
            "object_store_address": os.path.join(folder, "store.sock"),
            "raylet_socket_name": raylet_socket,
            "webui_url": "",
            "session_dir": session_dir,
            "metrics_export_port": 0,
            "dashboard_agent_listen_port": 0,
            "gcs_address": info["gcs_address"],
            "address": session_dir,
            "node_id": info["node_id"].hex(),
        }
    )


def _end_well_by_sigterm() -> None:
    """SIGTERM, which a container's end sends first, runs what is to be run at the exit."""
    import signal

    def leave(number: int, frame: object) -> None:
        sys.exit(number)

    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, leave)
    except ValueError:
        pass  # Only the main thread may.


_exiting = False


def _shut_down_at_exit() -> None:
    global _exiting
    connection = _worker.current()
    _exiting = True
    if connection is None or not connection.is_worker:
        shutdown()


# Now: what a program registers after it has imported this still finds its cluster.
atexit.register(_shut_down_at_exit)
