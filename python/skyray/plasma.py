# SPDX-License-Identifier: Apache-2.0
"""A client of a store on its own: the ``plasma_store`` program, or a node's.

Names, arguments and results are those of Arrow's former Plasma client, so that its
users change one import::

    from skyray import plasma          # was: from pyarrow import plasma

    client = plasma.connect("/tmp/store.sock")
    object_id = plasma.ObjectID.from_random()
    buffer = client.create(object_id, 1000)     # writable, in shared memory
    memoryview(buffer)[:5] = b"hello"
    client.seal(object_id)
    [buffer] = client.get_buffers([object_id])  # read-only, nothing copied

A buffer keeps its object in the store; dropping it is the release. docs/plasma.md
tells the rest, docs/differences.md what is not as in Arrow.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, overload

from . import _core
from ._core import StoreObjectID as ObjectID
from ._daemon import find_binary

__all__ = [
    "ObjectID",
    "ObjectNotAvailable",
    "PlasmaBuffer",
    "PlasmaClient",
    "PlasmaConnectionError",
    "PlasmaError",
    "PlasmaObjectExists",
    "PlasmaObjectLost",
    "PlasmaObjectNotFound",
    "PlasmaStoreFull",
    "connect",
    "start_plasma_store",
]

_CONNECT_RETRIES = 50
_CONNECT_PAUSE_S = 0.1
_START_LIMIT_S = 30.0
# A value: in-band bytes and number of buffers, then each buffer's offset and size.
_HEAD = struct.Struct("<QQ")
_PLACE = struct.Struct("<QQ")
_ALIGNMENT = 64
_HASH_BYTES = 8


class PlasmaError(Exception):
    """What a store refuses, or that it is gone."""


class PlasmaObjectExists(PlasmaError):
    """An object of that id is in the store already."""


class PlasmaObjectNotFound(PlasmaError):
    """There is no such object, or this client is not (or no longer) creating it."""


class PlasmaObjectLost(PlasmaError):
    """The object was on disk and cannot be read from there any more."""


class PlasmaStoreFull(PlasmaError):
    """There is no room, even without what could be evicted."""


class PlasmaConnectionError(PlasmaError, ConnectionError):
    """Nobody listens, the store has gone, or this client is disconnected."""


class ObjectNotAvailable:
    """What ``get`` gives, the class itself, for an object that is not there in time."""


# By the names of fbs/error.fbs.
_ERRORS: dict[str, type[PlasmaError]] = {
    "ObjectExists": PlasmaObjectExists,
    "ObjectNotFound": PlasmaObjectNotFound,
    "ObjectLost": PlasmaObjectLost,
    "OutOfMemory": PlasmaStoreFull,
    "OutOfDisk": PlasmaStoreFull,
    "Disconnected": PlasmaConnectionError,
    "NotConnected": PlasmaConnectionError,
    "IoError": PlasmaConnectionError,
}


def _error(code: str, message: str) -> PlasmaError:
    return _ERRORS.get(code, PlasmaError)(message)


class PlasmaBuffer(_core.StoreBuffer):
    """Bytes of an object, in the store's memory, by the buffer protocol.

    64-byte aligned. Writable as created; read-only once the object is sealed, and
    as got. It can be read for as long as it lives, also after ``disconnect()``.
    """

    __slots__ = ("__weakref__",)
    is_cpu = True

    def __getitem__(self, key: int | slice) -> Any:
        """A byte's value, or a part of the buffer, uncopied."""
        if isinstance(key, slice):
            start, stop, step = key.indices(self.size)
            if step != 1:
                raise IndexError("only slices with step 1 are supported")
            return self.part(start, max(0, stop - start))
        return memoryview(self)[key]

    def slice(self, offset: int = 0, length: int | None = None) -> PlasmaBuffer:
        """The part from ``offset`` on, ``length`` bytes or up to the end; uncopied."""
        if offset < 0:
            raise IndexError("offset must be non-negative")
        there = max(0, self.size - offset)
        part = self.part(min(offset, self.size), there if length is None else min(length, there))
        assert isinstance(part, PlasmaBuffer)
        return part

    def hex(self) -> str:
        """The bytes as hexadecimal digits."""
        return memoryview(self).hex()

    def equals(self, other: Any) -> bool:
        """Whether another buffer has the same bytes."""
        return memoryview(self) == memoryview(other).cast("B")

    def __eq__(self, other: object) -> bool:
        try:
            return self.equals(other)
        except TypeError:
            return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # As bytes that may change.

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if protocol >= 5:
            return bytearray if self.is_mutable else bytes, (pickle.PickleBuffer(self),)
        return bytearray if self.is_mutable else bytes, (self.to_pybytes(),)

    def __repr__(self) -> str:
        return f"<skyray.PlasmaBuffer size={self.size} is_mutable={self.is_mutable}>"


_core.set_store_buffer_type(PlasmaBuffer)
_core.set_store_errors(_error)


class PlasmaClient(_core.StoreClient):
    """One connection; made by :func:`connect`. Any thread may call it: while one waits
    the others go on. Ctrl-C ends the wait of the main thread.

    A forked child makes its own; there the parent's raises PlasmaConnectionError.

    The methods that move bytes are the extension's (``_core.pyi`` has their
    signatures): ``create``, ``seal``, ``abort``, ``create_and_seal``,
    ``put_raw_buffer``, ``get_buffers``, ``get_metadata``, ``contains``, ``delete``,
    ``evict``, ``store_capacity``, ``debug_string``, ``disconnect``.
    """

    def __new__(cls, store_socket_name: str) -> PlasmaClient:
        client = super().__new__(cls, store_socket_name)
        client.store_socket_name = store_socket_name
        return client

    store_socket_name: str

    def put(
        self,
        value: Any,
        object_id: ObjectID | None = None,
        memcopy_threads: int = 6,
        serialization_context: None = None,
    ) -> ObjectID:
        """Stores any value that can be pickled; arrays and tables in it are copied once.

        Args:
            value: what to store.
            object_id: its name; ``None``: a random one.
            memcopy_threads: as many threads copy at most what is 16 MiB or larger; more
                than 4 or than there are CPUs never do.
            serialization_context: must be ``None``.

        Raises:
            PlasmaObjectExists: ``object_id`` is taken.
            PlasmaStoreFull: there is no room.
            TypeError: the value cannot be pickled.
        """
        from ._serialization import serialize

        _refuse_context(serialization_context)
        inband, raw = serialize(value)
        buffers = [memoryview(buffer).cast("B") for buffer in raw]
        end = _HEAD.size + len(buffers) * _PLACE.size + len(inband)
        head = _HEAD.pack(len(inband), len(buffers))
        pieces: list[tuple[int, Any]] = []
        for buffer in buffers:
            begin = -(-end // _ALIGNMENT) * _ALIGNMENT
            head += _PLACE.pack(begin, buffer.nbytes)
            pieces.append((begin, buffer))
            end = begin + buffer.nbytes
        return self.put_pieces(object_id, end, [(0, head + inband), *pieces], memcopy_threads)

    @overload
    def get(
        self, object_ids: ObjectID, timeout_ms: int = -1, serialization_context: None = None
    ) -> Any: ...
    @overload
    def get(
        self,
        object_ids: Sequence[ObjectID],
        timeout_ms: int = -1,
        serialization_context: None = None,
    ) -> list[Any]: ...
    def get(
        self,
        object_ids: ObjectID | Sequence[ObjectID],
        timeout_ms: int = -1,
        serialization_context: None = None,
    ) -> Any:
        """What :meth:`put` stored: one value, or a list of them.

        Arrays in it are read-only and lie in the store. ``ObjectNotAvailable`` (the
        class) stands for what is not there within ``timeout_ms`` milliseconds (-1: no
        limit).

        Raises:
            PlasmaError: an object was not stored by ``put``.
            PlasmaObjectLost: it was on disk and cannot be read from there.
        """
        _refuse_context(serialization_context)
        if isinstance(object_ids, ObjectID):
            return _load(self.get_buffers([object_ids], timeout_ms)[0])
        if not isinstance(object_ids, Sequence):
            raise TypeError(f"get() takes an ObjectID or a list of them, not {object_ids!r}")
        return [_load(buffer) for buffer in self.get_buffers(object_ids, timeout_ms)]

    def hash(self, object_id: ObjectID) -> bytes:
        """Eight bytes that are the same for objects of the same data and metadata.

        Raises:
            PlasmaObjectNotFound: it is not in the store and sealed.
        """
        [(metadata, buffer)] = self.get_buffers([object_id], 0, True)
        if buffer is None or metadata is None:
            raise PlasmaObjectNotFound(f"{object_id} is not in the store")
        digest = hashlib.blake2b(buffer, digest_size=_HASH_BYTES)
        digest.update(metadata)
        return digest.digest()

    def list(self) -> dict[ObjectID, dict[str, Any]]:
        """What is in the store, in no order: by id a dict with

        ``data_size`` and ``metadata_size`` (bytes), ``ref_count`` (how many refer to
        it), ``create_time`` (Unix time, seconds), ``construct_duration`` (seconds from
        create to seal), ``state`` (``"created"``, ``"sealed"``, ``"spilled"`` or
        ``"restoring"``), ``source`` (who wrote it), ``primary`` and ``stored`` (has a
        copy on disk).
        """
        now = time.time()
        objects = {}
        for entry in self.list_objects():
            object_id, data, metadata, age_ms, construct_ms, references, state, source = entry[:8]
            objects[object_id] = {
                "data_size": data,
                "metadata_size": metadata,
                "ref_count": references,
                "create_time": round(now - age_ms / 1000),
                "construct_duration": construct_ms / 1000,
                "state": state.lower(),
                "source": source.lower(),
                "primary": entry[8],
                "stored": entry[9],
            }
        return objects

    def set_client_options(self, client_name: str, limit_output_memory: int) -> None:
        """Is there for programs that call it, and has no effect."""

    def subscribe(self) -> None:
        """Not built: wait for objects with ``get_buffers`` instead."""
        raise NotImplementedError(
            "skyray's store sends no notifications; wait for the objects with get_buffers()"
        )


def _refuse_context(serialization_context: Any) -> None:
    if serialization_context is not None:
        raise TypeError(
            "serialization_context must be None: values are pickled; give a class "
            "__reduce__, or register it with copyreg"
        )


def _load(buffer: _core.StoreBuffer | None) -> Any:
    if buffer is None:
        return ObjectNotAvailable
    memory = memoryview(buffer)
    try:
        inband, count = _HEAD.unpack_from(memory, 0)
        at = _HEAD.size + count * _PLACE.size
        places = list(_PLACE.iter_unpack(memory[_HEAD.size : at]))
        if len(places) != count or at + inband > memory.nbytes:
            raise struct.error
    except struct.error as error:
        raise PlasmaError(
            "the object was not stored by put(); read its bytes with get_buffers()"
        ) from error
    buffers = [memory[begin : begin + size] for begin, size in places]
    return pickle.loads(memory[at : at + inband], buffers=buffers)


def connect(store_socket_name: str, num_retries: int = -1) -> PlasmaClient:
    """Connects to the store that listens at a unix socket.

    Args:
        store_socket_name: the socket's path.
        num_retries: how often to try again, every 0.1 s, if nobody listens yet;
            -1: for five seconds.

    Raises:
        PlasmaConnectionError: nobody listens there.
        PlasmaError: it is no store of this version.
    """
    retries = _CONNECT_RETRIES if num_retries < 0 else num_retries
    while True:
        try:
            return PlasmaClient(store_socket_name)
        except PlasmaConnectionError:
            if retries == 0:
                raise
            retries -= 1
            time.sleep(_CONNECT_PAUSE_S)


@contextlib.contextmanager
def start_plasma_store(
    plasma_store_memory: int,
    use_valgrind: bool = False,
    use_profiler: bool = False,
    plasma_directory: str | None = None,
    use_hugepages: bool = False,
    external_store: str | None = None,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A store for the time of a ``with`` block: its socket's path, and its process.

    Args:
        plasma_store_memory: its capacity in bytes.
        plasma_directory: where its memory lies; ``None``: in no file system.
        use_hugepages: whether it is of huge pages.
        use_valgrind, use_profiler, external_store: must be as they are.

    Raises:
        NotImplementedError: one of those is not.
        RuntimeError: the store does not start; it says why on stderr.
    """
    if use_valgrind or use_profiler or external_store is not None:
        raise NotImplementedError(
            "use_valgrind, use_profiler and external_store are not offered: run plasma_store "
            "under the tool yourself; a full store writes to disk with --fallback"
        )
    with tempfile.TemporaryDirectory(prefix="skyray-plasma-") as folder:
        name = os.path.join(folder, "plasma.sock")
        command = [find_binary("plasma_store"), "-s", name, "-m", str(plasma_store_memory)]
        if plasma_directory is not None:
            command += ["-d", plasma_directory]
        if use_hugepages:
            command += ["--hugepages"]
        with subprocess.Popen(command) as process:
            try:
                _wait_for(name, process)
                yield name, process
            finally:
                process.terminate()


def _wait_for(path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not os.path.exists(path):
        if process.poll() is not None:
            raise RuntimeError(f"plasma_store exited unexpectedly with code {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"plasma_store does not listen after {_START_LIMIT_S:g} s")
        time.sleep(0.005)
