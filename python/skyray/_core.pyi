# SPDX-License-Identifier: Apache-2.0
"""The extension: one core worker per process. C++ in cpp/src/bindings.

Everything here may be called from any thread. Calls that wait let go of the GIL.
Failures are raised as the exceptions that ``Hooks.error`` makes.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, ClassVar, Literal, TypedDict, overload, type_check_only

from typing_extensions import Buffer, Self  # Only read by type checkers.

from .plasma import PlasmaBuffer

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
class ActorClassID(BaseID): ...
class ClusterID(BaseID): ...

class PlacementGroupID(BaseID):
    @classmethod
    def of(cls, job_id: JobID) -> PlacementGroupID: ...

class JobID(BaseID):
    @classmethod
    def from_int(cls, value: int) -> JobID: ...
    def int(self) -> int: ...

class ActorID(BaseID):
    @classmethod
    def of(cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int) -> ActorID:
        """A new one of that job; what else is given has no effect."""
    @property
    def job_id(self) -> JobID: ...

class TaskID(BaseID):
    @classmethod
    def for_driver_task(cls, job_id: JobID) -> TaskID: ...
    @classmethod
    def for_fake_task(cls, job_id: JobID) -> TaskID:
        """A new one, of no task."""
    @classmethod
    def for_normal_task(
        cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int
    ) -> TaskID:
        """The same for the same."""
    @classmethod
    def for_actor_creation_task(cls, actor_id: ActorID) -> TaskID: ...
    @classmethod
    def for_actor_task(
        cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int, actor_id: ActorID
    ) -> TaskID:
        """The same for the same."""
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
    def on_ready(
        self, callback: Callable[[Self], None], ended: Callable[[], None] = ..., /
    ) -> None:
        """Calls ``callback(ref)`` once, from the I/O thread (or at once, from the
        caller's, if ready): ``get`` then does not wait. Exceptions are printed.
        Should the session end before, disconnect() returns ``ended`` instead."""
    def __reduce__(self) -> Any: ...

class StoreObjectID:
    """The name of an object in a store: 20 bytes or, of a node's object, 28."""

    def __init__(self, object_id: bytes) -> None: ...
    @staticmethod
    def from_random() -> StoreObjectID: ...
    def binary(self) -> bytes: ...
    def hex(self) -> str: ...

class StoreBuffer:
    """Bytes of an object in a store's memory, by the buffer protocol: writable as
    created, read-only once sealed and as got. Dropping one that is read releases
    the object; a part keeps the whole."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    @property
    def size(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def is_mutable(self) -> bool: ...
    @property
    def parent(self) -> StoreBuffer | None: ...
    def to_pybytes(self) -> bytes: ...
    def write(self, data: Buffer, offset: int = 0, /) -> int:
        """Copies ``data`` into it, faster than a view's assignment when it is large:
        its size. BufferError once sealed; ValueError if it does not fit."""
    def part(self, offset: int, size: int, /) -> Self: ...

# id, data bytes, metadata bytes, age in ms, ms from create to seal, references, state,
# source, primary, stored, owner's id, segment, offset.
_StoreEntry = tuple[StoreObjectID, int, int, int, int, int, str, str, bool, bool, bytes, int, int]

class StoreClient:
    """One connection to a store; :mod:`skyray.plasma` is its face, and its exceptions
    are what is raised."""

    def __new__(cls, path: str, /) -> Self: ...
    def create(
        self, object_id: StoreObjectID, data_size: int, metadata: Buffer = b""
    ) -> PlasmaBuffer:
        """Room for an object: ``data_size`` writable bytes, 64-byte aligned.

        Nobody sees it before :meth:`seal`. While the store is full this waits for room, as
        long as the store finds that worth it. ValueError: the size is negative;
        PlasmaObjectExists; PlasmaStoreFull: the message names the largest holders."""
    def seal(self, object_id: StoreObjectID, /) -> None:
        """Makes an object immutable and readable by all. New views of its buffer are
        read-only; those taken before stay writable, and while one lives the object's
        memory is given to nobody else. PlasmaObjectNotFound: this client is not
        creating it."""
    def abort(self, object_id: StoreObjectID, /) -> None:
        """Gives up an object that this client created and did not seal. BufferError: there
        are views of its buffer; PlasmaObjectNotFound: this client is not creating it."""
    def create_and_seal(
        self, object_id: StoreObjectID, data: Buffer, metadata: Buffer = b""
    ) -> None:
        """Stores bytes. As :meth:`create`; ValueError: they are not contiguous."""
    def put_raw_buffer(
        self,
        value: Buffer,
        object_id: StoreObjectID | None = None,
        metadata: Buffer = b"",
        memcopy_threads: int = 6,
    ) -> StoreObjectID:
        """As :meth:`create_and_seal`, under a random id unless one is given. As many threads
        copy at most what is 16 MiB or larger; never more than 4, or than there are CPUs."""
    def put_pieces(
        self,
        object_id: StoreObjectID | None,
        size: int,
        pieces: list[tuple[int, Buffer]],
        memcopy_threads: int,
        /,
    ) -> StoreObjectID:
        """Stores an object of ``size`` bytes: each piece from its offset on, copied as by
        :meth:`put_raw_buffer`."""
    @overload
    def get_buffers(
        self,
        object_ids: Iterable[StoreObjectID],
        timeout_ms: int = -1,
        with_meta: Literal[False] = False,
    ) -> list[PlasmaBuffer | None]: ...
    @overload
    def get_buffers(
        self, object_ids: Iterable[StoreObjectID], timeout_ms: int, with_meta: Literal[True]
    ) -> list[tuple[bytes, PlasmaBuffer] | tuple[None, None]]: ...
    @overload
    def get_buffers(
        self, object_ids: Iterable[StoreObjectID], timeout_ms: int = -1, *, with_meta: Literal[True]
    ) -> list[tuple[bytes, PlasmaBuffer] | tuple[None, None]]:
        """The objects' bytes, read-only and uncopied, in the order of the ids.

        Waits for those that are not sealed yet, up to ``timeout_ms`` milliseconds
        (-1: for ever); ``None`` stands for what is not there by then. With ``with_meta``
        each is a pair: metadata (copied), bytes. PlasmaObjectLost: it was on disk and
        cannot be read from there."""
    def get_metadata(
        self, object_ids: Iterable[StoreObjectID], timeout_ms: int = -1
    ) -> list[PlasmaBuffer | None]:
        """As :meth:`get_buffers`, of the metadata."""
    def contains(self, object_id: StoreObjectID, /) -> bool:
        """Whether the object is in the store and sealed, in memory or on disk."""
    def delete(self, object_ids: Iterable[StoreObjectID], /) -> None:
        """Takes objects out of the store; one in use goes with its last buffer."""
    def evict(self, num_bytes: int, /) -> int:
        """Frees at least so much, least recently used first, if so much is sealed and not
        in use; what was freed, in bytes."""
    def list_objects(self) -> list[_StoreEntry]: ...
    def stats(self) -> dict[str, Any]:
        """The figures of StatsReply in fbs/plasma.fbs by name; a count is a pair of objects
        and bytes."""
    def debug_string(self) -> str:
        """What is in the store, for people."""
    def store_capacity(self) -> int:
        """How much the store may hold, in bytes."""
    def disconnect(self) -> None:
        """Releases what this client holds and aborts what it never sealed.

        Buffers stay readable, but their memory may be given to other objects; what is
        written through a view that is left over is seen by this process alone."""

def set_store_buffer_type(cls: type[StoreBuffer], /) -> None: ...
def set_store_errors(factory: Callable[[str, str], BaseException], /) -> None:
    """``factory(name of the ErrorCode, message)`` makes what StoreClient raises."""

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
    def task_error(self, error: BaseException, name: str) -> tuple[bytes, str]:
        """User code raised ``error`` in task or method ``name``: the bytes that
        :meth:`load_task_error` turns into what the caller sees, and its traceback."""
    def is_retryable(self, error: BaseException, which: bytes) -> bool:
        """Whether ``error`` is one of those that ``retry_exceptions`` names."""
    def load_task_error(self, payload: bytes) -> BaseException:
        """The exception (RayTaskError that is also the user's type) to raise."""
    def load_failed(self, error: Exception) -> BaseException:
        """What to raise where a value cannot be unpickled because of ``error``."""
    def error(self, code: int, message: str, actor_id: str) -> BaseException:
        """The exception for an ErrorCode of fbs/error.fbs; ``actor_id``: hex or ""."""
    def load_function(self, blob: bytes) -> Any:
        """cloudpickle.loads of an exported function or actor class."""
    def listed_items(self, refs: list[ObjectRef]) -> Any:
        """The value of a task whose items these are (num_returns="dynamic")."""

    def set_threads(self, count: int) -> None:
        """As many CPUs has the task that is to run now; 1 at first."""

    def set_accelerators(self, gpu_ids: list[str]) -> None:
        """Worker: called before user code when the granted GPUs change."""
    def on_log(self, name: str, pid: int, node_ip: str, is_stderr: bool, lines: list[str]) -> None:
        """Driver: print worker output. From the I/O thread."""
    def on_failure(self, what: str, error: BaseException) -> None:
        """``error`` may not reach the user otherwise. ``what`` comes of it; "": nothing, and
        the result that it is was let go of unseen. From any thread."""

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
    max_lineage_bytes: int = ...,
    task_oom_retries: int = ...,
    task_events_report_interval_ms: int = ...,
) -> ConnectInfo:
    """Joins the node whose raylet listens at ``raylet_socket``. Once per process
    at a time; starts the I/O thread. ``job_config`` is JSON (docs/design/001)."""

def disconnect() -> list[Callable[[], None]]:
    """What is to be called now: those to whom on_ready() promised something wait for it."""

def is_connected() -> bool: ...
def after_fork_in_child() -> None:
    """Forgets the parent's connection in a forked child."""

def fork_alone() -> int:
    """os.fork() in a process that has one thread and no hooks of the user's: the child runs none
    (os.register_at_fork), so ``random`` goes on in it where its parent was.

    Raises:
        OSError: the system cannot.
    """

def die_with(parent: int, /) -> None:
    """Has this process killed when that one, its parent, ends; at once if it has.

    Raises:
        OSError: the system does not.
    """

def map_board(fd: int, /) -> None:
    """Shares the board of the workers' progress, in this process and its children.

    Raises:
        OSError: ``fd`` is none, or cannot be mapped.
    """

def take_place(place: int, /) -> None:
    """From the next connect() on this process marks its progress there. -1: nowhere."""

def take_stdio(stdout: int, stderr: int, /) -> None:
    """Moves two descriptors to where output goes; from the standard input comes nothing.

    Raises:
        OSError: no such descriptor.
    """

def put(value: Any) -> ObjectRef: ...
def private_view(buffer: Any, /) -> Buffer:
    """Of a buffer that pickle was given for a value: its bytes, to be written to. What is
    written is seen through this object alone. TypeError: it is another kind of object."""

def get(refs: ObjectRef | Sequence[ObjectRef], timeout: float | None) -> Any:
    """The value, or the list of values. ``timeout`` in seconds. Raises what the
    objects hold if that is an error; GetTimeoutError."""

def wait(
    refs: list[Any], num_returns: int, timeout: float | None, fetch_local: bool
) -> tuple[list[ObjectRef], list[ObjectRef]] | None:
    """Waits for ``num_returns`` of them; as many that are ready, and the rest, each in order.

    None if something else is in the list. Raises ValueError: one is there twice, or
    ``num_returns`` is not in 1..n.
    """

def cancel(ref: ObjectRef, force: bool, recursive: bool) -> None:
    """Ends the call that is to make it. Raises ``Hooks.error(InvalidArgument)``: ``force``,
    and it is an actor's."""

class TaskOptions(TypedDict, total=False):
    function_id: bytes  # 28 bytes; exported by export_function under it.
    name: str
    resources: dict[str, float]
    num_returns: int
    generator: str  # As MethodOptions'.
    items_untaken_max: int
    max_retries: int
    max_calls: int  # After so many the worker is replaced; 0: never.
    retry_exceptions: bytes  # What raised makes the call be made again: b"*", or for is_retryable.
    strategy: tuple[str, bytes, bool]  # ("DEFAULT"|"SPREAD"|"NODE_AFFINITY", node_id, soft)
    selectors: list[list[LabelTerm]]  # Of nodes by label, the best choice first.
    runtime_env: str  # JSON; empty: the job's.
    enable_task_events: bool  # What runs of it is told to the GCS.

# Key, "in" | "not_in" | "exists" | "missing", values.
LabelTerm = tuple[str, str, list[str]]

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
    is_async: bool
    concurrency_groups: list[tuple[str, int]]  # (name, limit); the default one, "", first.
    placement_resources: dict[str, float]
    resources: dict[str, float]
    strategy: tuple[str, bytes, bool]
    selectors: list[list[LabelTerm]]
    runtime_env: str
    enable_task_events: bool  # As TaskOptions', of its __init__.
    handle: bytes  # Whatever get_named_actor() is to give back.

class MethodOptions(TypedDict, total=False):
    name: str  # For people; "": the class's and the method's.
    num_returns: int
    generator: str  # "streaming", "dynamic", or "": it is none.
    items_untaken_max: int  # A generator's; 0: any number.
    concurrency_group: str
    max_task_retries: int
    retry_exceptions: bytes  # As TaskOptions'.
    enable_task_events: bool  # As TaskOptions'.

class ActorCore:
    """One actor, seen from this process. A non-detached actor ends, after its queued calls,
    when its creator has dropped the last one and nobody keeps what ``share`` gave."""

    def actor_id(self) -> bytes: ...
    def method(self, name: str, options: MethodOptions, arity: _Arity) -> ActorMethodCall: ...
    def limit_pending(self, limit: int, /) -> None:
        """Sets max_pending_calls: a call beyond it raises
        ``Hooks.error(PendingCallsLimit)``. Negative: no limit."""
    def set_unordered(self) -> None:
        """This process's calls of the actor start as their arguments become ready, and no longer
        in the order in which they are made."""
    def share(self) -> Any:
        """The handle is being pickled: an ObjectRef that is to go with it, for keep().
        None if handles do not decide on this actor's life."""

    def keep(self, scope: ObjectRef, /) -> None: ...

class ObjectStream:
    """Iterates over the references to what a generator task yields."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def next_ready(self) -> bool: ...
    def is_finished(self) -> bool: ...
    def completed(self) -> Any: ...
    def peek(self) -> Any:
        """The reference that next() is to return; at the end, one that is no item."""

def set_object_stream_type(cls: type[ObjectStream], /) -> None: ...

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

# One execution: node_ip, worker_id, task_id, name, code ("module.function", or a method's
# name), start_ns since the epoch, how long its arguments, its code and its outputs took in ns
# (-1: it did not come to that), and (type, value, traceback) of what it raised, or None.
TaskEvent = tuple[str, bytes, bytes, str, str, int, int, int, int, tuple[str, str, str] | None]

def task_events(after: int, flush_wait_ms: int, /) -> tuple[list[TaskEvent], int, int]:
    """A page of what has been run: events, after what to go on (0: there is no more), and how
    many the cluster has lost. Waits up to ``flush_wait_ms`` for workers to tell what they
    have; 0: not at all."""

class TaskContext(TypedDict):
    job_id: bytes
    node_id: bytes
    worker_id: bytes
    task_id: bytes
    actor_id: bytes  # Nil (all 0xff) outside an actor.
    task_name: str
    method: str  # Of an actor; "" for a task.
    function: Any  # That a task runs, or None.
    actor: Any  # The instance that this process is, or None.
    gpu_ids: list[str]
    resources: dict[str, float]
    restarts: int
    concurrency_groups: list[tuple[str, int]]

def context() -> TaskContext: ...
def forget_actor() -> None:
    """Lets go of the instance that this process is as an actor, at its end."""

def current_task_name() -> str:
    """Cheap: what worker output is to be labelled with ("" before the first task)."""

def watch_output(rename: Callable[[], None], flush: Callable[[], None]) -> None:
    """``rename`` is called when that changes, once it was asked for; ``flush`` when a call has
    ended in or since which flush_after_call() was called."""

def flush_after_call() -> None: ...

class Reducer:
    """A pickler's ``reducer_override``: takes references apart, and asks the method it is
    made of about classes and functions only. Instances pickle takes apart itself."""

    def __init__(self, method: Callable[[Any, Any], Any]) -> None: ...
    def __call__(self, obj: Any) -> Any: ...

class Call:
    """A call that an event loop runs: exactly one of its outcomes is to be told."""

    def create(self) -> tuple[Any, Coroutine[Any, Any, None]] | None:
        """Makes the actor whose creation this is. If its ``__init__`` is to be awaited: the
        instance and the coroutine; created() is to follow."""

    def created(self, instance: Any, error: BaseException | None, /) -> None:
        """``error`` is what its ``__init__`` raised."""

    def start(self) -> Any:
        """Runs it. None: it has been answered; else finish() or fail() is to follow, of
        the coroutine, or, if yields() is true, of the generator that it answers."""

    def yields(self) -> bool: ...
    def produce(self, item: Any) -> bool:
        """Sends an item of the generator; whether the next one is wanted now. Raises
        StopIteration if nobody wants any more."""

    def has_room(self) -> bool: ...
    def finish(self, value: Any) -> None: ...
    def fail(self, error: BaseException) -> None:
        """Raises SystemExit if that is what ``error`` is."""
    def is_cancelled(self) -> bool: ...

def is_interrupted() -> bool:
    """Main thread: the task that runs here has been cancelled, and is to be interrupted."""

def is_cancelled() -> bool:
    """Whether the caller of what runs here has cancelled it."""

def run_worker() -> Call | list[tuple[str, int]] | None:
    """A worker's main thread: executes tasks until told to end. Returns then; or it
    has become an async actor (the Call is its creation, still to be run) or a threaded
    one (its groups and their limits)."""

def run_calls(group: int, spawn: Callable[[], None]) -> None:
    """Executes that group's calls on this thread until the end. ``spawn`` is called
    when no other thread waits for the next one."""

def await_exit() -> None: ...
def leave_with(exit_code: int, /) -> None:
    """The process is to end, as the user's code asked for, when what runs has ended. An actor's is
    started again after a code that is not 0, while it may be."""

def take_call() -> Call | None: ...
def await_work(timeout: float | None) -> int:
    """Waits for calls that may start (1), the descriptor being readable (2), the end
    (4), room for a generator's items (8), or the time; any of them together. ``timeout`` 0
    does not look at the descriptor."""

def watch(descriptor: int, variable: contextvars.ContextVar[Call]) -> None:
    """Once, before await_work: an epoll's descriptor, and where a coroutine finds its Call."""

def exit_actor() -> None:
    """Inside an actor's method: the process ends after the present call has been
    answered. (The Python face then unwinds the method.)"""

def statistics() -> dict[str, int]:
    """Counts of this process: objects, objects_borrowed, tasks_pending, leases,
    actors; for tests of leaks."""
