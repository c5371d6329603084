"""A client of a store on its own: the ``plasma_store`` program, or a node's.

The names are those of Arrow's former Plasma client::

    client = skyray.plasma.connect("/tmp/store.sock")
    object_id = ObjectID.from_random()
    buffer = client.create(object_id, 1000)   # writable, in shared memory
    memoryview(buffer)[:5] = b"hello"
    client.seal(object_id)
    [buffer] = client.get_buffers([object_id])  # read-only, nothing copied

A buffer that was got keeps its object in the store; dropping it is the release.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import Any, overload

from . import _core
from ._core import ObjectID

__all__ = [
    "ObjectID",
    "ObjectNotAvailable",
    "PlasmaClient",
    "PlasmaError",
    "PlasmaObjectExists",
    "PlasmaObjectNotFound",
    "PlasmaStoreFull",
    "connect",
]


class PlasmaError(Exception):
    """What a store refuses, or that it is gone."""


class PlasmaObjectExists(PlasmaError):
    """An object of that id is in the store already."""


class PlasmaObjectNotFound(PlasmaError):
    """This client did not create that object, or has sealed or aborted it."""


class PlasmaStoreFull(PlasmaError):
    """There is no room, even without what could be evicted."""


class ObjectNotAvailable:
    """What ``get`` gives for an object that is not there in time."""


# ErrorCodes of fbs/error.fbs.
_ERRORS: dict[int, type[PlasmaError]] = {
    4: PlasmaObjectExists,
    5: PlasmaObjectNotFound,
    8: PlasmaStoreFull,
}
# A value: in-band bytes and number of buffers, then each buffer's offset and size.
_HEAD = struct.Struct("<QQ")
_PLACE = struct.Struct("<QQ")
_ALIGNMENT = 64


class _Raising:
    """Turns the extension's StoreError into this module's exceptions."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, _core.StoreError):
            code, message = error.args
            raise _ERRORS.get(code, PlasmaError)(message) from None


_raising = _Raising()


class PlasmaClient:
    """One connection. Calls from several threads take turns."""

    def __init__(self, store_socket_name: str) -> None:
        self.store_socket_name = store_socket_name
        with _raising:
            self._client = _core.StoreClient(store_socket_name)

    def create(self, object_id: ObjectID, data_size: int) -> _core.StoreBuffer:
        """Room for an object: ``data_size`` writable bytes, 64-byte aligned.

        Nobody sees it before :meth:`seal`. While the store is full this waits for
        room, for as long as the store allows (half a second by default).

        Raises:
            ValueError: ``data_size`` is negative.
            PlasmaObjectExists: the id is taken.
            PlasmaStoreFull: there is no room; the message names the largest holders.
        """
        if data_size < 0:
            raise ValueError(f"data_size={data_size} bytes is negative")
        with _raising:
            return self._client.create(object_id, data_size)

    def seal(self, object_id: ObjectID) -> None:
        """Makes an object readable by all, and no longer anybody's to write.

        Raises:
            PlasmaObjectNotFound: this client has not created it, or sealed it before.
        """
        with _raising:
            self._client.seal(object_id)

    def abort(self, object_id: ObjectID) -> None:
        """Gives up an object that this client created and did not seal.

        Raises:
            PlasmaObjectNotFound: there is no such object.
        """
        with _raising:
            self._client.abort(object_id)

    def get_buffers(
        self, object_ids: Sequence[ObjectID], timeout_ms: int = -1
    ) -> list[_core.StoreBuffer | None]:
        """The objects' bytes, read-only and uncopied, in the order of the ids.

        Waits for those that are not sealed yet, up to ``timeout_ms`` milliseconds
        (-1: for ever); ``None`` stands for what is not there by then.
        """
        with _raising:
            return self._client.get(list(object_ids), timeout_ms)

    def put(self, value: Any, object_id: ObjectID | None = None) -> ObjectID:
        """Stores any value that can be pickled; arrays in it are copied once.

        Raises:
            PlasmaObjectExists: ``object_id`` was given and is taken.
            PlasmaStoreFull: there is no room.
            TypeError: the value cannot be pickled.
        """
        from ._serialization import serialize

        inband, raw = serialize(value)
        buffers = [memoryview(buffer).cast("B") for buffer in raw]
        places = []
        end = _HEAD.size + len(buffers) * _PLACE.size + len(inband)
        for buffer in buffers:
            begin = -(-end // _ALIGNMENT) * _ALIGNMENT
            places.append((begin, buffer.nbytes))
            end = begin + buffer.nbytes
        object_id = object_id or ObjectID.from_random()
        memory = memoryview(self.create(object_id, end))
        try:
            _HEAD.pack_into(memory, 0, len(inband), len(buffers))
            at = _HEAD.size
            for place in places:
                _PLACE.pack_into(memory, at, *place)
                at += _PLACE.size
            memory[at : at + len(inband)] = inband
            for (begin, size), buffer in zip(places, buffers):
                memory[begin : begin + size] = buffer
        except BaseException:
            self.abort(object_id)
            raise
        self.seal(object_id)
        return object_id

    @overload
    def get(self, object_ids: ObjectID, timeout_ms: int = -1) -> Any: ...
    @overload
    def get(self, object_ids: Sequence[ObjectID], timeout_ms: int = -1) -> list[Any]: ...
    def get(self, object_ids: ObjectID | Sequence[ObjectID], timeout_ms: int = -1) -> Any:
        """What :meth:`put` stored: one value, or a list of them.

        Arrays in it are read-only and lie in the store. ``ObjectNotAvailable`` (the
        class) stands for what is not there within ``timeout_ms`` milliseconds.
        """
        if isinstance(object_ids, ObjectID):
            return self.get([object_ids], timeout_ms)[0]
        return [
            ObjectNotAvailable if buffer is None else _load(buffer)
            for buffer in self.get_buffers(object_ids, timeout_ms)
        ]

    def contains(self, object_id: ObjectID) -> bool:
        """Whether the object is in the store and sealed."""
        with _raising:
            return self._client.contains(object_id)

    def delete(self, object_ids: Sequence[ObjectID]) -> None:
        """Takes objects out of the store; one in use goes with its last buffer."""
        with _raising:
            self._client.delete(list(object_ids))

    def store_capacity(self) -> int:
        """How much the store may hold, in bytes."""
        with _raising:
            return self._client.capacity_bytes

    def debug_string(self) -> str:
        """What is in the store, for people."""
        with _raising:
            return self._client.debug_state()

    def disconnect(self) -> None:
        """Releases what this client holds and aborts what it never sealed.

        Buffers stay readable, but their objects may be replaced by others.
        """
        self._client.disconnect()


def _load(buffer: _core.StoreBuffer) -> Any:
    memory = memoryview(buffer)
    try:
        inband, count = _HEAD.unpack_from(memory, 0)
        at = _HEAD.size + count * _PLACE.size
        places = list(_PLACE.iter_unpack(memory[_HEAD.size : at]))
    except struct.error as error:
        raise PlasmaError(
            "the object was not stored by put(); read its bytes with get_buffers()"
        ) from error
    buffers = [memory[begin : begin + size] for begin, size in places]
    return pickle.loads(memory[at : at + inband], buffers=buffers)


def connect(store_socket_name: str) -> PlasmaClient:
    """Connects to the store that listens at a unix socket.

    Raises:
        PlasmaError: nobody listens there, or it is no store of this version.
    """
    return PlasmaClient(store_socket_name)
