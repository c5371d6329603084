# SPDX-License-Identifier: Apache-2.0
"""Programs about get_buffers, get_metadata, and the buffers themselves."""

from __future__ import annotations

import pickle
from typing import Any

from . import program, raised
from .lifecycle import small


@program(expected=[None, b"data", None])
def what_is_there_in_time(plasma: Any, client: Any, other: Any) -> Any:
    there, new = small(plasma, client), plasma.ObjectID.from_random
    buffers = client.get_buffers([new(), there, new()], timeout_ms=10)
    return [buffer and buffer.to_pybytes() for buffer in buffers]


@program(expected=[(b"meta", b"data"), (b"", b"data")])
def buffers_with_their_metadata(plasma: Any, client: Any, other: Any) -> Any:
    ids = [small(plasma, client, metadata=b"meta"), small(plasma, client)]
    found = other.get_buffers(ids, with_meta=True)
    return [(metadata, data.to_pybytes()) for metadata, data in found]


@program(expected=[(None, None)])
def no_buffer_and_no_metadata(plasma: Any, client: Any, other: Any) -> Any:
    return client.get_buffers([plasma.ObjectID.from_random()], 0, True)


@program(expected=([b"meta", b""], [None], True))
def metadata_alone(plasma: Any, client: Any, other: Any) -> Any:
    ids = [small(plasma, client, metadata=b"meta"), small(plasma, client)]
    found = other.get_metadata(ids)
    nothing = other.get_metadata([plasma.ObjectID.from_random()], 0)
    return [m.to_pybytes() for m in found], nothing, memoryview(found[0]).readonly


@program(
    expected=(0, 2),
    arrow="may wait for ever",
    because="an id that repeats is there as often as it is asked for",
)
def no_ids_and_one_twice(plasma: Any, client: Any, other: Any) -> Any:
    if plasma.__name__ == "pyarrow.plasma":
        return "may wait for ever"
    object_id = small(plasma, client)
    return len(client.get_buffers([])), len(client.get_buffers([object_id, object_id]))


@program(expected=(1, 1, "TypeError", "TypeError"))
def what_a_list_of_ids_is(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client)
    return (
        len(client.get_buffers((object_id,))),
        len(client.get_buffers({object_id})),
        raised(lambda: client.get_buffers(object_id)),
        raised(lambda: client.get_buffers(None)),
    )


@program(expected=("TypeError", "nothing"))
def what_a_timeout_is(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client)
    return (
        raised(lambda: client.get_buffers([object_id], None)),
        raised(lambda: client.get_buffers([object_id], -5)),
    )


@program(
    expected="TypeError",
    arrow="nothing",
    because="half a millisecond would be cut off without a word",
)
def a_timeout_of_half_a_millisecond(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client)
    return raised(lambda: client.get_buffers([object_id], 1.5))


@program(expected=(4, 4, False, True, "64617461", True, b"data", "TypeError"))
def what_a_buffer_tells(plasma: Any, client: Any, other: Any) -> Any:
    [buffer] = client.get_buffers([small(plasma, client)])
    return (
        buffer.size,
        len(buffer),
        buffer.is_mutable,
        buffer.is_cpu,
        buffer.hex().decode() if isinstance(buffer.hex(), bytes) else buffer.hex(),
        buffer.address % 64 == 0,
        bytes(buffer),
        raised(lambda: memoryview(buffer).__setitem__(0, 1)),
    )


@program(expected=(b"at", b"at", b"ta", 100, 97, "IndexError", b""))
def parts_of_a_buffer(plasma: Any, client: Any, other: Any) -> Any:
    [buffer] = client.get_buffers([small(plasma, client)])
    return (
        buffer[1:3].to_pybytes(),
        buffer.slice(1, 2).to_pybytes(),
        buffer.slice(2).to_pybytes(),
        buffer[0],
        buffer[-1],
        raised(lambda: buffer[4]),
        buffer[3:1].to_pybytes(),
    )


@program(expected=(True, True, False, "TypeError"))
def buffers_are_compared_by_their_bytes(plasma: Any, client: Any, other: Any) -> Any:
    [a, b, c] = client.get_buffers([small(plasma, client, d) for d in (b"data", b"data", b"also")])
    return a == b, a.equals(b), a == c, raised(lambda: hash(a))


@program(expected=(b"data", b"data"))
def buffers_can_be_pickled(plasma: Any, client: Any, other: Any) -> Any:
    [buffer] = client.get_buffers([small(plasma, client)])
    return tuple(bytes(pickle.loads(pickle.dumps(buffer, protocol))) for protocol in (4, 5))


@program(expected=(True, 64, True, "TypeError"))
def a_created_buffer_can_be_written(plasma: Any, client: Any, other: Any) -> Any:
    buffer = client.create(plasma.ObjectID.from_random(), 64)
    return (
        buffer.is_mutable,
        buffer.size,
        buffer.address % 64 == 0,
        raised(lambda: buffer.__setitem__(0, 1)).replace("AttributeError", "TypeError"),
    )


@program(
    expected=(False, True),
    arrow=(True, False),
    because="a sealed object is immutable; views taken after the seal are read-only",
)
def a_sealed_object_can_no_longer_be_written(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    buffer = client.create(object_id, 64)
    client.seal(object_id)
    return buffer.is_mutable, memoryview(buffer).readonly


@program(
    expected=("B", b"abcd"),
    arrow=("b", b"abcd"),
    because="bytes are unsigned: view[:] = b'...' works without a cast",
)
def the_format_of_a_view(plasma: Any, client: Any, other: Any) -> Any:
    buffer = client.create(plasma.ObjectID.from_random(), 4)
    memoryview(buffer).cast("B")[:] = b"abcd"
    return memoryview(buffer).format, bytes(buffer)


@program(expected=(b"data", b"data"))
def buffers_outlive_their_client(plasma: Any, client: Any, other: Any) -> Any:
    [buffer] = client.get_buffers([small(plasma, client)])
    view = memoryview(buffer)
    client.disconnect()
    return bytes(view), buffer.to_pybytes()
