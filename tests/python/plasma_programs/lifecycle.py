# SPDX-License-Identifier: Apache-2.0
"""Programs about an object's way from create to delete."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import program, raised


def small(plasma: Any, client: Any, data: bytes = b"data", metadata: bytes = b"") -> Any:
    object_id = plasma.ObjectID.from_random()
    client.create_and_seal(object_id, data, metadata)
    return object_id


@program(expected=(b"\0\1\2\3\4\5\6\7\10\11", 10, True))
def what_one_writes_another_reads(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    view = memoryview(client.create(object_id, 10))
    for i in range(10):
        view[i] = i
    client.seal(object_id)
    [buffer] = other.get_buffers([object_id])
    return buffer.to_pybytes(), buffer.size, memoryview(buffer).readonly


@program(expected=(b"\1\1\1\1", b"\1\1\1\1"))
def numpy_writes_into_the_store(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    array = np.frombuffer(client.create(object_id, 4), dtype="uint8")
    array[:] = 1
    client.seal(object_id)
    [mine], [its] = client.get_buffers([object_id]), other.get_buffers([object_id])
    return mine.to_pybytes(), bytes(np.frombuffer(its, dtype="uint8"))


@program(expected=("PlasmaObjectExists", "PlasmaObjectExists", "PlasmaObjectExists"))
def an_id_is_taken_once(plasma: Any, client: Any, other: Any) -> Any:
    sealed, created = small(plasma, client), plasma.ObjectID.from_random()
    client.create(created, 1)
    return (
        raised(lambda: client.create(sealed, 4)),
        raised(lambda: other.create(created, 4)),
        raised(lambda: client.create_and_seal(sealed, b"x")),
    )


@program(expected=("PlasmaObjectExists", "PlasmaObjectExists"))
def a_put_under_a_taken_id(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client)
    return (
        raised(lambda: client.put(1, object_id)),
        raised(lambda: client.put_raw_buffer(b"1", object_id)),
    )


@program(expected=("PlasmaObjectNotFound", "PlasmaObjectNotFound"))
def only_its_creator_seals(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    kept = client.create(object_id, 1)
    by_other = raised(lambda: other.seal(object_id))
    client.seal(object_id)
    del kept
    return by_other, raised(lambda: client.seal(plasma.ObjectID.from_random()))


@program(
    expected="PlasmaObjectNotFound",
    arrow="TypeError",
    because="what is sealed is not being created; no type is wrong",
)
def sealing_twice(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    kept = client.create(object_id, 1)
    client.seal(object_id)
    outcome = raised(lambda: client.seal(object_id))
    del kept
    return outcome


@program(expected=(True, b"abc"))
def a_dropped_buffer_may_still_be_sealed(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    memoryview(client.create(object_id, 3)).cast("B")[:] = b"abc"
    client.seal(object_id)
    return client.contains(object_id), client.get_buffers([object_id])[0].to_pybytes()


@program(
    expected=(False, True),
    arrow=(True, True),
    because="contains() says whether a get would find it, as documented",
)
def an_object_is_there_once_it_is_sealed(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    kept = client.create(object_id, 3)
    before = client.contains(object_id)
    client.seal(object_id)
    del kept
    return before, client.contains(object_id)


@program(expected=(True, False, False))
def a_deleted_object_is_gone(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client)
    before = client.contains(object_id)
    client.delete([object_id])
    return before, client.contains(object_id), client.contains(plasma.ObjectID.from_random())


@program(expected=("nothing", "nothing", "nothing"))
def a_delete_of_what_is_not_there(plasma: Any, client: Any, other: Any) -> Any:
    created = plasma.ObjectID.from_random()
    client.create(created, 1)
    return (
        raised(lambda: client.delete([plasma.ObjectID.from_random()])),
        raised(lambda: client.delete([])),
        raised(lambda: client.delete([created])),
    )


@program(expected=(True, b"data", False))
def a_delete_waits_for_the_last_buffer(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client)
    [buffer] = client.get_buffers([object_id])
    client.delete([object_id])
    there = client.contains(object_id)
    data = buffer.to_pybytes()
    del buffer
    return there, data, client.contains(object_id)


@program(expected=(0, b"", b""))
def an_object_without_bytes(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    size = client.create(object_id, 0).size
    client.seal(object_id)
    [(metadata, data)] = client.get_buffers([object_id], with_meta=True)
    return size, data.to_pybytes(), metadata


@program(
    expected=("ValueError", "TypeError", "TypeError"),
    arrow=("OSError", "OSError", "TypeError"),
    because="a negative size ends Arrow's store, and with it what comes after",
)
def sizes_that_are_none(plasma: Any, client: Any, other: Any) -> Any:
    new = plasma.ObjectID.from_random
    return (
        raised(lambda: client.create(new(), -1)),
        raised(lambda: client.create(new(), 1.5)),
        raised(lambda: client.create(new(), "1")),
    )


@program(expected=("TypeError", "TypeError", "nothing", "nothing"))
def metadata_is_bytes(plasma: Any, client: Any, other: Any) -> Any:
    new = plasma.ObjectID.from_random
    return (
        raised(lambda: client.create(new(), 1, "text")),
        raised(lambda: client.create(new(), 1, None)),
        raised(lambda: client.create(new(), 1, bytearray(b"x"))),
        raised(lambda: client.create(object_id=new(), data_size=1, metadata=b"x")),
    )


@program(expected=("PlasmaStoreFull", "PlasmaStoreFull", True))
def more_than_fits(plasma: Any, client: Any, other: Any) -> Any:
    new = plasma.ObjectID.from_random
    first = raised(lambda: client.create(new(), 1 << 40))
    holding = client.create(new(), 40 << 20)
    second = raised(lambda: other.create(new(), 40 << 20))
    return first, second, holding.size == 40 << 20


@program(expected=(True, True))
def unused_objects_make_room(plasma: Any, client: Any, other: Any) -> Any:
    first = small(plasma, client, b"x" * (20 << 20))
    last = [small(plasma, client, b"x" * (20 << 20)) for _ in range(6)][-1]
    return not client.contains(first), client.contains(last)


@program(expected=(b"x", "PlasmaStoreFull", b"x"))
def objects_in_use_are_not_evicted(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client, b"x" * (40 << 20))
    [buffer] = client.get_buffers([object_id])
    before = buffer[:1].to_pybytes()
    outcome = raised(lambda: small(plasma, client, b"y" * (40 << 20)))
    return before, outcome, buffer[:1].to_pybytes()
