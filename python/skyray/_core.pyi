# SPDX-License-Identifier: Apache-2.0
"""The extension: one core worker per process. C++ in cpp/src/bindings.

Everything here may be called from any thread. Calls that wait let go of the GIL.
Failures are raised as the exceptions that ``Hooks.error`` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypedDict, type_check_only

from typing_extensions import Self  # Only read by type checkers.

@type_check_only
class BaseID:
    SIZE: ClassVar[int]
    def __init__(self, binary: bytes) -> None: ...
    @classmethod
    def from_binary(cls, binary: bytes) -> Self: ...
    @classmethod
    def from_hex(cls, hex: str) -> Self: ...
    @classmethod
    def from_random(cls) -> Self: ...
    @classmethod
    def nil(cls) -> Self: ...
    @classmethod
    def size(cls) -> int: ...
    def binary(self) -> bytes: ...
    def hex(self) -> str: ...
    def is_nil(self) -> bool: ...

class UniqueID(BaseID): ...
class NodeID(BaseID): ...
class WorkerID(BaseID): ...
class FunctionID(BaseID): ...
class PlacementGroupID(BaseID): ...

class JobID(BaseID):
    @classmethod
    def from_int(cls, value: int) -> JobID: ...
    def int(self) -> int: ...

class ActorID(BaseID):
    @classmethod
    def of(cls, job_id: JobID) -> ActorID: ...
    @property
    def job_id(self) -> JobID: ...

class TaskID(BaseID):
    def actor_id(self) -> ActorID: ...
    def job_id(self) -> JobID: ...

class ObjectID(BaseID):
    def task_id(self) -> TaskID: ...
    def job_id(self) -> JobID: ...

class ObjectRef:
    """A raw CPython type; ``skyray.object_ref.ObjectRef`` derives from it with
    ``__slots__ = ()`` and is registered with :func:`set_object_ref_type`; every
    reference the extension makes is then of that class. Holding one keeps the
    object alive. Hash and equality are by id."""

    def binary(self) -> bytes: ...
    def hex(self) -> str: ...
    def is_nil(self) -> bool: ...
    def task_id(self) -> TaskID: ...
    def job_id(self) -> JobID: ...
    def owner_worker_id(self) -> bytes: ...
    def is_ready(self) -> bool:
        """True if ``get`` would not wait (a value or an error is known)."""
    def on_ready(self, callback: Callable[[Self], None]) -> None:
        """Calls ``callback(ref)`` once, from the I/O thread (or at once, from the
        caller's, if ready): ``get`` then does not wait. Exceptions are printed."""
    def __reduce__(self) -> Any: ...

class StoreError(RuntimeError):
    """What a store refuses; ``args`` are the ErrorCode and a sentence."""

class StoreBuffer:
    """Bytes of an object in a store's memory, by the buffer protocol: writable as
    created, read-only as got. Dropping one that was got releases the object."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class StoreClient:
    """One connection to a store; :mod:`skyray.plasma` is its face."""

    def __init__(self, path: str) -> None: ...
    def create(self, object_id: ObjectID, size: int, /) -> StoreBuffer: ...
    def seal(self, object_id: ObjectID, /) -> None: ...
    def abort(self, object_id: ObjectID, /) -> None: ...
    def get(self, object_ids: list[ObjectID], timeout_ms: int, /) -> list[StoreBuffer | None]: ...
    def delete(self, object_ids: list[ObjectID], /) -> None: ...
    def contains(self, object_id: ObjectID, /) -> bool: ...
    def debug_state(self) -> str: ...
    def disconnect(self) -> None: ...
    @property
    def capacity_bytes(self) -> int: ...

def set_object_ref_type(cls: type[ObjectRef]) -> None: ...

@type_check_only
class Hooks:
    """Python functions the core calls; an object with these methods is given to
    :func:`connect`. (Not a runtime class of the extension.)"""

    def serialize(self, value: Any) -> tuple[bytes, list[Any]]:
        """Pickle 5 of anything the core's fast path (exact builtin scalars, str,
        bytes, None, small tuples of them) does not take: in-band bytes and the
        out-of-band buffers (objects with the buffer protocol, contiguous), in
        order. ObjectRefs inside are noticed by the core itself (through their
        ``__reduce__``). Raises TypeError naming what cannot be pickled."""
    def task_error(self, error: BaseException, name: str) -> bytes:
        """User code raised ``error`` in task or method ``name``: the bytes that
        :meth:`load_task_error` turns into what the caller sees."""
    def load_task_error(self, payload: bytes) -> BaseException:
        """The exception (RayTaskError that is also the user's type) to raise."""
    def error(self, code: int, message: str, actor_id: str) -> BaseException:
        """The exception for an ErrorCode of fbs/error.fbs; ``actor_id``: hex or ""."""
    def load_function(self, blob: bytes) -> Any:
        """cloudpickle.loads of an exported function or actor class."""
    def set_accelerators(self, gpu_ids: list[str]) -> None:
        """Worker: called before user code when the granted GPUs change."""
    def on_log(self, name: str, pid: int, node_ip: str, is_stderr: bool, lines: list[str]) -> None:
        """Driver: print worker output. From the I/O thread."""
    def on_notice(self, text: str, is_error: bool) -> None:
        """Driver: tell the user. From the I/O thread."""

class ConnectInfo(TypedDict):
    node_id: bytes
    job_id: bytes
    worker_id: bytes
    node_ip: str
    session_dir: str
    socket_dir: str
    gcs_address: str
    is_head: bool

def connect(
    raylet_socket: str,
    is_driver: bool,
    worker_id: bytes | None,
    job_config: str,
    namespace: str,
    entrypoint: str,
    hooks: Any,
) -> ConnectInfo:
    """Joins the node whose raylet listens at ``raylet_socket``. Once per process
    at a time; starts the I/O thread. ``job_config`` is JSON (docs/design/001)."""

def disconnect() -> None: ...
def is_connected() -> bool: ...
def after_fork_in_child() -> None:
    """Forgets the parent's connection in a forked child."""

def put(value: Any) -> ObjectRef: ...
def get(refs: ObjectRef | Sequence[ObjectRef], timeout: float | None) -> Any:
    """The value, or the list of values. ``timeout`` in seconds. Raises what the
    objects hold if that is an error; GetTimeoutError."""

def wait(
    refs: list[ObjectRef], num_returns: int, timeout: float | None, fetch_local: bool
) -> list[bool]:
    """One flag per reference: ready. Waits for ``num_returns`` of them."""

class TaskOptions(TypedDict, total=False):
    function_id: bytes  # 28 bytes; exported by export_function under it.
    name: str
    resources: dict[str, float]
    num_returns: int
    max_retries: int
    strategy: tuple[str, bytes, bool]  # ("DEFAULT"|"SPREAD"|"NODE_AFFINITY", node_id, soft)

# (bind, min, max): a call that is not of min to max positional arguments alone is shown
# to ``bind``, which raises TypeError if it does not fit.
_Arity = tuple[Callable[..., Any], int, int]

class RemoteCall:
    """A remote function with one set of options, ready to be called fast.

    ``prepare`` returns the TaskOptions; it is called at the first ``remote`` and
    again after a reconnect, and does auto-init and export.
    """

    def __init__(self, prepare: Callable[[], TaskOptions], arity: _Arity) -> None: ...
    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """ObjectRef; list of them if num_returns > 1; None if num_returns == 0."""

class ActorOptions(TypedDict, total=False):
    class_id: bytes  # 28 bytes; exported like functions.
    class_name: str
    name: str
    namespace: str
    detached: bool
    get_if_exists: bool
    max_restarts: int
    max_concurrency: int
    placement_resources: dict[str, float]
    resources: dict[str, float]
    strategy: tuple[str, bytes, bool]
    handle: bytes  # Whatever get_named_actor() is to give back.

class ActorCore:
    """One actor, seen from this process. Dropping the last one that came from
    ``create_actor`` (and whose ``shared`` was never called) ends a non-detached
    actor, after its queued calls."""

    def actor_id(self) -> bytes: ...
    def method(self, name: str, num_returns: int, arity: _Arity) -> ActorMethodCall: ...
    def shared(self) -> None:
        """The handle is being pickled: others may hold the actor from now on."""

class ActorMethodCall:
    def remote(self, *args: Any, **kwargs: Any) -> Any: ...

def create_actor(
    options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[ActorCore, bytes | None]:
    """The actor, and the existing one's ``handle`` if get_if_exists found it.
    Raises ``Hooks.error(AlreadyExists)`` if the name is taken."""

def actor_from_id(actor_id: bytes) -> ActorCore: ...
def get_named_actor(name: str, namespace: str) -> tuple[ActorCore, bytes]:
    """Raises ``Hooks.error(NotFound)``."""

def kill_actor(actor_id: bytes, no_restart: bool) -> None: ...
def list_actors(all_namespaces: bool, namespace: str, named_only: bool) -> list[dict[str, Any]]: ...
def kv_put(namespace: str, key: bytes, value: bytes, overwrite: bool) -> bool: ...
def kv_get(namespace: str, key: bytes, wait_ms: int = 0) -> bytes | None: ...
def kv_delete(namespace: str, key: bytes) -> bool: ...
def kv_exists(namespace: str, key: bytes) -> bool: ...
def kv_keys(namespace: str, prefix: bytes) -> list[bytes]: ...
def export_function(function_id: bytes, blob: bytes) -> None:
    """kv_put to "fun" that does not wait for the answer."""

def nodes() -> list[dict[str, Any]]:
    """node_id(bytes) alive ip hostname name data_port raylet_socket store_socket
    is_head total available labels death_reason; amounts as floats."""

class TaskContext(TypedDict):
    job_id: bytes
    node_id: bytes
    worker_id: bytes
    task_id: bytes
    actor_id: bytes  # Nil (all 0xff) outside an actor.
    task_name: str
    gpu_ids: list[str]
    resources: dict[str, float]
    restarts: int

def context() -> TaskContext: ...
def current_task_name() -> str:
    """Cheap: what worker output is to be labelled with ("" before the first task)."""

def run_worker() -> None:
    """A worker's main thread: executes tasks until told to end. Returns then."""

def exit_actor() -> None:
    """Inside an actor's method: the process ends after the present call has been
    answered. (The Python face then unwinds the method.)"""

def statistics() -> dict[str, int]:
    """Counts of this process: objects, objects_borrowed, tasks_pending, leases,
    actors; for tests of leaks."""
