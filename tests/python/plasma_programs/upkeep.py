# SPDX-License-Identifier: Apache-2.0
"""Programs about what a store holds, and making room in it."""

from __future__ import annotations

from typing import Any

from . import STORE_BYTES, program, raised
from .lifecycle import small


@program(expected=(1, [4, 2, 0, "sealed"], True, True))
def what_is_in_the_store(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client, b"data", b"mm")
    info = other.list()
    [(name, entry)] = info.items()
    figures = [entry[key] for key in ("data_size", "metadata_size", "ref_count", "state")]
    return len(info), figures, name == object_id, entry["construct_duration"] >= 0


@program(expected=("created", 1, True))
def an_object_that_is_being_created(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    kept = client.create(object_id, 4)
    entry = other.list()[object_id]
    fields = {"data_size", "metadata_size", "ref_count", "create_time", "construct_duration"}
    del kept
    return entry["state"], entry["ref_count"], fields <= set(entry)


@program(expected=(1, 2, 1, 0))
def who_refers_to_it(plasma: Any, client: Any, other: Any) -> Any:
    object_id = small(plasma, client)
    counts = []
    [mine] = client.get_buffers([object_id])
    counts.append(client.list()[object_id]["ref_count"])
    [its] = other.get_buffers([object_id])
    counts.append(other.list()[object_id]["ref_count"])
    del its
    counts.append(other.list()[object_id]["ref_count"])
    del mine
    counts.append(client.list()[object_id]["ref_count"])
    return tuple(counts)


@program(expected=(True, False, True))
def making_room(plasma: Any, client: Any, other: Any) -> Any:
    ids = [small(plasma, client, b"x" * (1 << 20)) for _ in range(4)]
    freed = client.evict(1 << 20)
    return freed >= 1 << 20, client.contains(ids[0]), client.contains(ids[3])


@program(expected=(0, True, 0))
def making_more_room_than_there_is(plasma: Any, client: Any, other: Any) -> Any:
    nothing = client.evict(100)
    object_id = small(plasma, client, b"x" * (1 << 20))
    all_of_it = client.evict(1 << 40)
    again = client.evict(1 << 40)
    return nothing, all_of_it >= 1 << 20 and not client.contains(object_id), again


@program(expected=(True, "str", True))
def what_a_client_knows(plasma: Any, client: Any, other: Any) -> Any:
    """Arrow's store keeps a little for itself."""
    capacity = client.store_capacity()
    text = client.debug_string()
    return STORE_BYTES * 0.9 < capacity <= STORE_BYTES, type(text).__name__, len(text) > 0


@program(expected=("nothing",))
def options_of_a_client(plasma: Any, client: Any, other: Any) -> Any:
    return (raised(lambda: client.set_client_options("me", 1 << 20)),)


@program(expected=(8, True, False, "PlasmaObjectNotFound"))
def the_checksum_of_an_object(plasma: Any, client: Any, other: Any) -> Any:
    a, b, c = (small(plasma, client, d) for d in (b"data", b"data", b"also"))
    return (
        len(client.hash(a)),
        client.hash(a) == client.hash(b),
        client.hash(a) == client.hash(c),
        raised(lambda: client.hash(plasma.ObjectID.from_random())),
    )
