# SPDX-License-Identifier: Apache-2.0
"""Programs about put and get."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from . import program, raised
from .lifecycle import small

VALUES: list[Any] = [
    None, True, 0, -1, 2**70, 1.5, "text", "snö", b"bytes", (1, (2,)), [1, [2]], {"a": {"b": 1}},
    {1, 2}, np.arange(3).tolist(), "x" * 100_000,
]  # fmt: skip


class Point:
    """A class of the user's module."""

    def __init__(self) -> None:
        self.x = 3


@program(expected=[])
def values_come_back_equal(plasma: Any, client: Any, other: Any) -> Any:
    back = [other.get(client.put(value)) for value in VALUES]
    return [repr(a)[:40] for a, b in zip(back, VALUES) if type(a) is not type(b) or a != b]


@program(
    expected=(3, 4, "float64"),
    arrow=("SerializationCallbackError", "AttributeError", "float"),
    because="whatever cloudpickle takes can be put, and keeps its type",
)
def objects_functions_and_numpy_scalars(plasma: Any, client: Any, other: Any) -> Any:
    def there_and_back(value: Any) -> Any:
        return client.get(client.put(value))

    outcomes = []
    for look in (
        lambda: there_and_back(Point()).x,
        lambda: there_and_back(lambda: 4)(),
        lambda: type(there_and_back(np.float64(2))).__name__,
    ):
        failure = raised(look)
        outcomes.append(look() if failure == "nothing" else failure)
    return tuple(outcomes)


@program(expected=([0, 1, 2], False, "ValueError"))
def arrays_lie_in_the_store(plasma: Any, client: Any, other: Any) -> Any:
    array = client.get(client.put(np.arange(3)))
    return (
        array.tolist(),
        array.flags.writeable,
        raised(lambda: array.__setitem__(0, 1)),
    )


@program(expected=[True, True, True])
def arrays_keep_their_type_and_shape(plasma: Any, client: Any, other: Any) -> Any:
    arrays = [
        np.arange(12, dtype="int16").reshape(3, 4),
        np.arange(12.0).reshape(3, 4).T,
        np.array(["a", "bc"]),
    ]
    back = client.get([client.put(array) for array in arrays])
    return [
        a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
        for a, b in zip(arrays, back)
    ]


@program(expected=(5, [5], [5], "TypeError", "TypeError"))
def one_id_or_a_list_of_them(plasma: Any, client: Any, other: Any) -> Any:
    object_id = client.put(5)
    return (
        client.get(object_id),
        client.get([object_id]),
        client.get((object_id,)),
        raised(lambda: client.get(3)),
        raised(lambda: client.get([3])),
    )


@program(expected=(True, [True, False]))
def values_that_are_not_there(plasma: Any, client: Any, other: Any) -> Any:
    new, there = plasma.ObjectID.from_random, client.put(5)
    missing = plasma.ObjectNotAvailable
    one = client.get(new(), timeout_ms=0)
    return one is missing, [v is missing for v in client.get([new(), there], 0)]


@program(expected=(True, 5, 6, 7))
def the_id_may_be_chosen(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID(b"z" * 20)
    same = client.put(5, object_id) == object_id
    third = client.put(7, object_id=None, memcopy_threads=4)
    return same, client.get(object_id), client.get(client.put(6, None)), client.get(third)


@program(
    expected="TypeError",
    arrow="SerializationCallbackError",
    because="the exception of pickle, as everywhere in skyray",
)
def what_cannot_be_put(plasma: Any, client: Any, other: Any) -> Any:
    return raised(lambda: client.put(threading.Lock()))


@program(expected=[b"abc", bytes(8), b"def", b"gh"])
def bytes_as_they_are(plasma: Any, client: Any, other: Any) -> Any:
    sources = [b"abc", np.zeros(8, "uint8"), bytearray(b"def"), memoryview(b"gh")]
    return [b.to_pybytes() for b in other.get_buffers([client.put_raw_buffer(s) for s in sources])]


@program(expected=[(b"meta", b"abc"), (b"m", b"abc")])
def bytes_with_metadata(plasma: Any, client: Any, other: Any) -> Any:
    ids = [
        client.put_raw_buffer(b"abc", metadata=b"meta"),
        client.put_raw_buffer(b"abc", None, b"m", 3),
    ]
    return [(m, d.to_pybytes()) for m, d in other.get_buffers(ids, with_meta=True)]


@program(expected="TypeError")
def text_is_no_buffer(plasma: Any, client: Any, other: Any) -> Any:
    return raised(lambda: client.put_raw_buffer("text"))


@program(
    expected=(bytes(8), "ValueError"),
    arrow=("OSError", "ValueError"),
    because="Arrow counts elements where bytes are meant",
)
def arrays_as_they_are(plasma: Any, client: Any, other: Any) -> Any:
    def stored(array: Any) -> Any:
        return client.get_buffers([client.put_raw_buffer(array)])[0].to_pybytes()

    wide, crooked = np.zeros(1), np.zeros((3, 3), "uint8").T[1:]
    failure = raised(lambda: stored(wide))
    return stored(wide) if failure == "nothing" else failure, raised(lambda: stored(crooked))


@program(expected=(b"abc", "nothing", "TypeError"))
def created_and_sealed_in_one(plasma: Any, client: Any, other: Any) -> Any:
    new, object_id = plasma.ObjectID.from_random, plasma.ObjectID.from_random()
    client.create_and_seal(object_id, b"abc", b"meta")
    return (
        other.get_buffers([object_id])[0].to_pybytes(),
        raised(lambda: client.create_and_seal(new(), bytearray(3))),
        raised(lambda: client.create_and_seal(new(), "text")),
    )


@program(
    expected="PlasmaError",
    arrow="OSError",
    because="Arrow's exception is its reader's",
)
def a_get_of_what_was_not_put(plasma: Any, client: Any, other: Any) -> Any:
    return raised(lambda: client.get(small(plasma, client, b"\xff" * 64)))
