# SPDX-License-Identifier: Apache-2.0
"""The calls that every program makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from . import _core, _lifecycle, _worker
from ._lifecycle import RayContext, ensure_connected
from .actor import ActorClass, ActorHandle, find_actor, method
from .exceptions import ActorHandleNotFoundError
from .object_ref import ObjectRef
from .object_ref_generator import ObjectRefGenerator
from .options import ACTOR, DECORATOR_ERROR, TASK, validate_options
from .remote_function import RemoteFunction

if TYPE_CHECKING:
    import os

__all__ = [
    "SCRIPT_MODE",
    "WORKER_MODE",
    "available_resources",
    "cancel",
    "cluster_resources",
    "get",
    "get_actor",
    "get_gpu_ids",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "wait",
]

T = TypeVar("T")

# Kinds of processes, as Ray numbers them.
SCRIPT_MODE = 0
WORKER_MODE = 1

# Bytes: what is too small to be of use, and what a store can manage.
OBJECT_STORE_MIN_BYTES = 1 << 20
OBJECT_STORE_MAX_BYTES = 1 << 46

# Keywords of init() that name parts which skyray does not have, or which have
# nothing to configure. They are accepted, as programs pass them along.
_WITHOUT_EFFECT = frozenset(
    {
        "_driver_object_store_memory",
        "_enable_object_reconstruction",
        "_metrics_export_port",
        "_plasma_directory",
        "_redis_password",
        "_redis_username",
        "_skip_env_hook",
        "_temp_dir",
        "_tracing_startup_hook",
    }
)


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    labels: dict[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = None,
    job_config: Any = None,
    configure_logging: bool = True,
    logging_level: int | str = "info",
    logging_format: str | None = None,
    logging_config: Any = None,
    log_to_driver: bool | None = None,
    namespace: str | None = None,
    runtime_env: dict[str, Any] | None = None,
    enable_resource_isolation: bool = False,
    cgroup_path: str | None = None,
    system_reserved_cpu: float | None = None,
    system_reserved_memory: int | None = None,
    proxy_server_url: str | None = None,
    **kwargs: Any,
) -> RayContext:
    """Starts a cluster on this machine, or joins one, and makes this process a driver.

    Args:
        address: None: what SKYRAY_ADDRESS says, else a new cluster. "local": a new
            one in any case. "auto": the one that this user runs here. Or a session
            directory. A cluster of another user is never joined.
        num_cpus: CPUs of the new node, 0 or more. None: those this process may use.
        num_gpus: GPUs of the new node. None: those in CUDA_VISIBLE_DEVICES, or all.
        resources: further resources of the new node, by name.
        labels: of the new node.
        object_store_memory: bytes. None: 30 % of the free memory, at most 200 GB.
        local_mode: no longer exists.
        ignore_reinit_error: a second init() returns the context of the first.
        job_config: an object with ``ray_namespace``, ``runtime_env`` and
            ``py_logging_config``, or None.
        logging_config: a ``skyray.LoggingConfig``, or what its ``to_dict`` gives: how log
            records look, here and in the job's workers. None: encoded as
            SKYRAY_LOGGING_CONFIG_ENCODING says, else as Python has it.
        log_to_driver: whether what workers print is shown here. None: yes.
        namespace: in which names of actors are looked up. None: one of this job's own.
        runtime_env: {"env_vars": {name: value}} for the job's workers.
        include_dashboard, dashboard_host, dashboard_port, configure_logging,
            logging_level, logging_format, enable_resource_isolation, cgroup_path,
            system_reserved_cpu, system_reserved_memory, proxy_server_url: accepted;
            this version has nothing that they configure.
        **kwargs: ``_node_ip_address``, ``_node_name`` and ``_memory`` (bytes) of the
            new node. ``object_spilling_directory``: where objects go that the store
            has no room for; None: the session directory. ``_system_config``: a dict;
            of its names ``object_spilling_config`` (JSON, as in Ray; a "uri" is opened
            with fsspec), ``automatic_object_spilling_enabled``,
            ``object_spilling_threshold`` (share of the store), ``min_spilling_size``,
            ``max_spilling_file_size_bytes``, ``max_fused_object_count``,
            ``object_store_full_delay_ms``, ``oom_grace_period_s``, ``max_lineage_bytes``
            (how much every process keeps of its tasks to make lost objects again),
            ``task_oom_retries`` (how often a task is made again that was ended because
            memory ran short; -1: for ever), ``task_events_report_interval_ms`` (how long
            after they have run tasks are told of to :func:`timeline`; 0: none is),
            ``task_events_max_num_task_in_gcs`` (so many are kept for it),
            ``memory_usage_threshold`` (share of the machine's or the container's memory
            above which a worker is ended) and ``memory_monitor_refresh_ms`` (0: never) have
            an effect. Names of Ray's that have none here are accepted.

    Returns:
        Facts about the cluster, by name; in a ``with`` statement it shuts down at
        the end.

    Raises:
        RuntimeError: called twice; an unknown keyword; ``local_mode``; a daemon did
            not start.
        ValueError: an amount that cannot be.
        ConnectionError: no such cluster.
    """
    del include_dashboard, dashboard_host, dashboard_port, configure_logging, logging_level
    del logging_format, enable_resource_isolation, cgroup_path
    del system_reserved_cpu, system_reserved_memory, proxy_server_url
    node = {name: kwargs.pop(f"_{name}", None) for name in ("node_name", "memory")}
    node["node_ip"] = kwargs.pop("_node_ip_address", None)
    spill_to = kwargs.pop("_object_spilling_directory", None)
    node["object_spilling_directory"] = kwargs.pop("object_spilling_directory", spill_to)
    node["_system_config"] = kwargs.pop("_system_config", None) or None
    unknown = sorted(set(kwargs) - _WITHOUT_EFFECT)
    if unknown:
        raise RuntimeError(f"Unknown keyword argument(s): {', '.join(unknown)}")
    if local_mode:
        raise RuntimeError("`local_mode` is no longer supported. Debug a task by calling its code.")
    with _worker.connecting:  # Of several threads that start a cluster, one does.
        connection = _worker.current()
        if connection is not None:
            if ignore_reinit_error and connection.context is not None:
                return connection.context
            raise RuntimeError(
                "Maybe you called skyray.init twice by accident? This error can be suppressed by "
                "passing in 'ignore_reinit_error=True' or by calling 'skyray.shutdown()' prior to "
                "'skyray.init()'."
            )
        for name, amount in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
            validate_options(TASK, {name: amount}, in_options=False)
        validate_options(TASK, {"resources": resources}, in_options=False)
        _check_node({"CPU": num_cpus, "GPU": num_gpus}, labels, object_store_memory)
        validate_options(ACTOR, {"namespace": namespace}, in_options=False)
        return _lifecycle.start(
            address=address,
            node_options={
                "num_cpus": num_cpus,
                "num_gpus": num_gpus,
                "resources": resources,
                "labels": labels,
                "object_store_memory": object_store_memory,
                **node,
            },
            namespace=namespace or getattr(job_config, "ray_namespace", None),
            runtime_env=runtime_env or getattr(job_config, "runtime_env", None),
            logging_config=logging_config or getattr(job_config, "py_logging_config", None),
            log_to_driver=log_to_driver is not False,
        )


def _check_node(
    units: dict[str, float | None],
    labels: dict[str, str] | None,
    object_store_memory: int | None,
) -> None:
    """What only a node has to be told, in the ranges that a node can have.

    Raises:
        ValueError, TypeError: it is not.
    """
    for unit, count in units.items():
        if count is not None and count != int(count):
            raise ValueError(
                f"num_{unit.lower()}s={count}: a node has whole {unit}s; tasks may ask for parts."
            )
    for name, value in (labels or {}).items():
        if not isinstance(name, str) or not isinstance(value, str) or not name or "=" in name:
            raise TypeError(
                f"labels must be of type Dict[str, str], without '=' in a name, got "
                f"{name!r}: {value!r}"
            )
    if object_store_memory is None:
        return
    if isinstance(object_store_memory, bool) or not isinstance(object_store_memory, (int, float)):
        raise TypeError(f"object_store_memory must be an int, got {type(object_store_memory)}")
    if not OBJECT_STORE_MIN_BYTES <= object_store_memory <= OBJECT_STORE_MAX_BYTES:
        raise ValueError(
            f"object_store_memory={object_store_memory} bytes is not in "
            f"{OBJECT_STORE_MIN_BYTES}..{OBJECT_STORE_MAX_BYTES}."
        )


def shutdown(*, wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:
    """Leaves the cluster. If this process started it, all of its processes end.

    Done at exit by itself. Without a connection nothing happens.

    Args:
        wait_for_processes: accepted; the processes have ended when this returns.
    """
    del wait_for_processes, _exiting_interpreter
    _lifecycle.shutdown()


def is_initialized() -> bool:
    """Whether this process is connected to a cluster."""
    return _worker.current() is not None


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(object_refs: Sequence[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...
def get(object_refs: Any, *, timeout: float | None = None) -> Any:
    """Waits for values.

    Args:
        object_refs: a reference, or a list of them.
        timeout: seconds. None and -1 wait for ever; 0, and what else is negative, look once.

    Returns:
        The value, or a list of the values. Arrays in them are read-only views of
        shared memory, and keep it.

    Raises:
        GetTimeoutError: not all were ready in time.
        RayTaskError: the task raised; also an instance of what it raised.
        RayError: there will be no value; its class says why.
        ValueError: ``object_refs`` is neither a reference nor a list.
        TypeError: the list has something else in it.
    """
    if _worker.warn_of_blocking:
        _worker.remark_on_blocking()
    if isinstance(object_refs, ObjectRef):
        if _worker.current() is None:
            ensure_connected()
        # Waits without the GIL.
        return _core.get(object_refs, timeout)
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs  # Its items are what can be got.
    if not isinstance(object_refs, list):
        raise ValueError(
            f"Invalid type of object refs, {type(object_refs)}, is given. 'object_refs' must "
            "either be an ObjectRef or a list of ObjectRefs. "
        )
    for ref in object_refs:
        if not isinstance(ref, ObjectRef):
            raise TypeError(
                f"Attempting to call `get` on the value {ref!r}, which is not a skyray.ObjectRef."
            )
    if _worker.current() is None:
        ensure_connected()
    return _core.get(object_refs, timeout)


def put(value: T) -> ObjectRef[T]:
    """Stores a value and returns a reference to it.

    Args:
        value: anything that can be pickled. Buffers such as a numpy array's are
            copied once, into shared memory; ``get`` then copies nothing.

    Raises:
        TypeError: it cannot be pickled (the message says which part of it), or is an
            ObjectRef itself.
        ObjectStoreFullError: there is no room for it.
    """
    if isinstance(value, ObjectRef):
        raise TypeError(
            "Calling 'put' on a skyray.ObjectRef is not allowed. If you really want to do this, "
            "you can wrap the skyray.ObjectRef in a list and call 'put' on it."
        )
    if _worker.current() is None:
        ensure_connected()
    return _core.put(value)  # type: ignore[return-value]


def wait(
    ray_waitables: list[ObjectRef[T]],
    *,
    num_returns: float = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[ObjectRef[T]], list[ObjectRef[T]]]:
    """Waits until ``num_returns`` of the references are ready or time is up.

    Args:
        ray_waitables: ``n`` distinct references, or generators, which are ready when
            their next item is, or their end; ``n == 0`` returns at once.
        num_returns: how many to wait for, a whole number from 1 to ``n``.
        timeout: seconds. None waits for ever; 0 looks once.
        fetch_local: if true, "ready" means that the value is on this node; if false,
            that it exists somewhere.

    Returns:
        ``(ready, not_ready)``: together the ``n`` references, each list in the order
        given. ``len(ready) == num_returns``, or less if time ran out.

    Raises:
        TypeError: not a list of references.
        ValueError: a reference repeats, or ``num_returns`` or ``timeout`` is outside of
            its range.
    """
    if isinstance(ray_waitables, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(
            f"wait() expected a list of skyray.ObjectRef, got a single one: {ray_waitables!r}"
        )
    if not isinstance(ray_waitables, list):
        raise TypeError(f"wait() expected a list of skyray.ObjectRef, got {type(ray_waitables)}")
    if timeout is not None and timeout < 0:
        raise ValueError(f"The 'timeout' argument must be nonnegative. Received {timeout}")
    if isinstance(num_returns, float) and num_returns.is_integer():
        num_returns = int(num_returns)
    if _worker.current() is None:
        ensure_connected()
    # Waits without the GIL.
    wanted: Any = num_returns
    found: Any = _core.wait(ray_waitables, wanted, timeout, fetch_local)
    if found is None:  # There is something else than references in the list.
        found = _wait_for_any(ray_waitables, wanted, timeout, fetch_local)
    return found  # type: ignore[no-any-return]


def _wait_for_any(
    waitables: list[Any], num_returns: int, timeout: float | None, fetch_local: bool
) -> tuple[list[Any], list[Any]]:
    """For lists in which there are generators."""
    for waitable in waitables:
        if not isinstance(waitable, (ObjectRef, ObjectRefGenerator)):
            raise TypeError(
                f"wait() expected a list of skyray.ObjectRef, got list containing {type(waitable)}"
            )
    if len(set(waitables)) != len(waitables):
        raise ValueError("Wait requires a list of unique ray_waitables.")
    refs = [_awaited(waitable) for waitable in waitables]
    stands_for = {id(ref): waitable for ref, waitable in zip(refs, waitables)}
    of_refs: Any = _core.wait(refs, num_returns, timeout, fetch_local)
    ready, rest = of_refs
    return [stands_for[id(ref)] for ref in ready], [stands_for[id(ref)] for ref in rest]


def _awaited(waitable: Any) -> ObjectRef[Any]:
    """What stands for it: of a generator, its next item or its end."""
    if isinstance(waitable, ObjectRefGenerator):
        return waitable.peek()  # type: ignore[no-any-return]
    assert isinstance(waitable, ObjectRef)
    return waitable


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """Ends an actor's process at once; what it was doing fails.

    Args:
        actor: which.
        no_restart: whether it stays dead. If false, it restarts as its
            ``max_restarts`` allows.

    Raises:
        ValueError: not the handle of an actor; an ``ActorHandleNotFoundError`` if it is of
            one that this cluster does not know.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"skyray.kill() only supported for actors. Got: {type(actor)}.")
    ensure_connected()
    try:
        _core.kill_actor(actor._actor_id.binary(), no_restart)
    except ValueError as error:
        raise ActorHandleNotFoundError(
            f"{error}: its handle may be of an earlier session. ActorHandle objects are not valid "
            "across sessions; create the actor again after init()."
        ) from None


def cancel(
    ray_waitable: ObjectRef[Any] | ObjectRefGenerator[Any],
    *,
    force: bool = False,
    recursive: bool = True,
) -> None:
    """Ends the task or actor call that is to make an object, if it has not finished.

    What has not begun never does. In a task that runs KeyboardInterrupt is raised, in an
    ``async def`` method asyncio.CancelledError; another method runs on, and only its result is
    not to be had. Getting the object raises TaskCancelledError, unless the task catches
    KeyboardInterrupt and returns.

    Args:
        ray_waitable: what the call returned, a reference or a generator.
        force: whether to end the process that runs the task; not for actors' calls.
        recursive: whether to end what the task has submitted as well.

    Raises:
        TypeError: it is neither.
        ValueError: ``force``, and a call of an actor.
    """
    if isinstance(ray_waitable, ObjectRefGenerator):
        ray_waitable = ray_waitable.completed()
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(
            "skyray.cancel() only supported for object refs. For actors, try skyray.kill(). "
            f"Got: {type(ray_waitable)}."
        )
    ensure_connected()
    _core.cancel(ray_waitable, force, recursive)


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """The handle of a named actor.

    Args:
        name: that it was made with.
        namespace: that it was made in. None: this job's.

    Raises:
        ValueError: there is no such actor, or it has ended; or the namespace is "".
        TypeError: ``name`` or ``namespace`` is not a str.
    """
    if not name:
        raise ValueError("Please supply a non-empty value to get_actor")
    if not isinstance(name, str):
        raise TypeError(f"The name of an actor is a str, got {type(name)}")
    validate_options(ACTOR, {"namespace": namespace}, in_options=False)
    connection = ensure_connected()
    return find_actor(name, connection.namespace if namespace is None else namespace)


def nodes() -> list[dict[str, Any]]:
    """The cluster's nodes, dead ones as well, one dictionary each."""
    ensure_connected()
    return [
        {
            "NodeID": node["node_id"].hex(),
            "Alive": node["alive"],
            "alive": node["alive"],
            "NodeManagerAddress": node["ip"],
            "NodeManagerHostname": node["hostname"],
            "NodeManagerPort": node["data_port"],
            "ObjectManagerPort": node["data_port"],
            "ObjectStoreSocketName": node["store_socket"],
            "RayletSocketName": node["raylet_socket"],
            # Of parts that a node does not have here.
            "MetricsExportPort": 0,
            "MetricsAgentPort": 0,
            "DashboardAgentListenPort": 0,
            "RuntimeEnvAgentPort": 0,
            "NodeName": node["name"],
            "Resources": dict(node["total"]) if node["alive"] else {},
            "Labels": dict(node["labels"]),
            "DeathReason": 0 if node["alive"] else 1,
            "DeathReasonMessage": node["death_reason"],
        }
        for node in _core.nodes()
    ]


def timeline(filename: str | os.PathLike[str] | None = None) -> list[dict[str, Any]] | None:
    """What the cluster's workers have run: tasks, methods and creations of actors.

    Workers are asked for what they have not told yet, and waited for up to a second. A task
    that still runs is not in it, nor one of ``enable_task_events=False``; of a process that
    was killed its last second may be missing. The GCS keeps the newest 100,000 executions.

    Args:
        filename: of the file to write, as JSON, which chrome://tracing and
            https://ui.perfetto.dev show. None: the events are returned.

    Returns:
        Complete events of the Trace Event Format, times in µs: ``cat``, ``name``, ``pid`` (the
        node's address), ``tid`` (the worker), ``ts``, ``dur``, ``ph``, ``cname``, ``args``. For
        each execution one of category ``task::NAME``, and one for each part that it came to:
        ``task:deserialize_arguments``, ``task:execute`` and ``task:store_outputs``. The part
        that raised has the exception's ``type``, ``value`` and ``traceback`` in its ``args``.
        None if they were written.

    Raises:
        RuntimeError: :func:`init` has not been called.
        TypeError: ``filename`` is none.
        OSError: the file cannot be written.
    """
    if not is_initialized():
        raise RuntimeError(
            "skyray has not been started yet. timeline() requires skyray.init() to be called first."
        )
    import json
    import os

    from . import _timeline

    path = None if filename is None else os.fspath(filename)
    events = _timeline.trace()
    if path is None:
        return events
    with open(path, "w") as file:
        json.dump(events, file)
    return None


def cluster_resources() -> dict[str, float]:
    """All that the cluster's nodes have, summed up by resource."""
    return _sum_over_nodes("total")


def available_resources() -> dict[str, float]:
    """What of it nobody uses at present. A little behind the truth."""
    return _sum_over_nodes("available")


def _sum_over_nodes(which: str) -> dict[str, float]:
    ensure_connected()
    sums: dict[str, float] = {}
    for node in _core.nodes():
        if node["alive"]:
            for name, amount in node[which].items():
                sums[name] = sums.get(name, 0.0) + amount
    return {name: amount for name, amount in sums.items() if amount}


def get_gpu_ids() -> list[int] | list[str]:
    """The GPUs that this task or actor may use: their numbers, or, where the node was started
    with CUDA_VISIBLE_DEVICES, their names there.

    An empty list at a driver.
    """
    named = ensure_connected().hooks.devices_given is not None
    ids = _core.context()["gpu_ids"]
    return list(ids) if named else [int(name) for name in ids]


@overload
def remote(function_or_class: type, /) -> ActorClass: ...  # type: ignore[overload-overlap]
@overload
def remote(function_or_class: Callable[..., T], /) -> RemoteFunction[T]: ...
@overload
def remote(**options: Any) -> Callable[[Callable[..., T]], RemoteFunction[T]]: ...
def remote(*args: Any, **options: Any) -> Any:
    """Makes a function run as tasks, or a class's instances actors.

    ``@remote`` or ``@remote(num_cpus=2, ...)``.

    Raises:
        AssertionError: neither of these forms.
        ValueError, TypeError: an option that cannot be.
        NotImplementedError: an option that only a later version knows.
        TypeError: neither a function nor a class.
    """
    if len(args) == 1 and not options and callable(args[0]):
        return _make_remote(args[0], {})
    used_well = bool(options) and not args
    assert used_well, DECORATOR_ERROR
    return lambda function_or_class: _make_remote(function_or_class, options)


def _make_remote(function_or_class: Any, options: dict[str, Any]) -> Any:
    if isinstance(function_or_class, type):
        validate_options(ACTOR, options, in_options=False)
        return ActorClass(function_or_class, options)
    made_before = isinstance(function_or_class, (ActorClass, RemoteFunction))
    if made_before or not callable(function_or_class):
        raise TypeError(
            "The @skyray.remote decorator must be applied to either a function or a class, "
            f"{'once, ' if made_before else ''}not to {function_or_class!r}."
        )
    validate_options(TASK, options, in_options=False)
    return RemoteFunction(function_or_class, options)
