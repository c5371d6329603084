# SPDX-License-Identifier: Apache-2.0
"""Programs about object ids."""

from __future__ import annotations

import pickle
from typing import Any

from . import program, raised


@program(expected=(True, False, True, False, True, 1))
def ids_are_values(plasma: Any, client: Any, other: Any) -> Any:
    a, same, b = plasma.ObjectID(b"a" * 20), plasma.ObjectID(b"a" * 20), plasma.ObjectID(b"b" * 20)
    return a == same, a == b, hash(a) == hash(same), a == b"a" * 20, a != b, len({a, same})


@program(
    expected=(
        b"0123456789abcdefghij",
        "ObjectID(303132333435363738396162636465666768696a)",
        20,
    )
)
def an_id_is_given_back_as_it_came(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID(b"0123456789abcdefghij")
    return object_id.binary(), str(object_id), len(plasma.ObjectID.from_random().binary())


@program(expected=(True, True))
def ids_travel_by_pickle_and_as_bytes(plasma: Any, client: Any, other: Any) -> Any:
    object_id = plasma.ObjectID.from_random()
    by_bytes = plasma.ObjectID(object_id.binary())
    return pickle.loads(pickle.dumps(object_id)) == object_id, by_bytes == object_id


@program(expected=("ValueError", "ValueError", "ValueError", "TypeError"))
def what_is_no_id(plasma: Any, client: Any, other: Any) -> Any:
    make = plasma.ObjectID
    return (
        raised(lambda: make(b"short")),
        raised(lambda: make(b"x" * 32)),
        raised(lambda: make("a" * 20)),
        raised(lambda: make(b"a" * 20) < make(b"b" * 20)),
    )


@program(
    expected="nothing",
    arrow="ValueError",
    because="28 bytes are the id of an object of a skyray node",
)
def an_id_of_28_bytes(plasma: Any, client: Any, other: Any) -> Any:
    return raised(lambda: plasma.ObjectID(b"x" * 28))


@program(expected=["TypeError"] * 9)
def ids_are_wanted_where_ids_are_wanted(plasma: Any, client: Any, other: Any) -> Any:
    wrong = b"a" * 20
    return [
        raised(call)
        for call in (
            lambda: client.create(wrong, 1),
            lambda: client.create_and_seal(wrong, b"x"),
            lambda: client.seal(wrong),
            lambda: client.contains(wrong),
            lambda: client.get_buffers([wrong], 0),
            lambda: client.get_metadata([wrong], 0),
            lambda: client.get([wrong], 0),
            lambda: client.delete([wrong]),
            lambda: client.put_raw_buffer(b"x", wrong),
        )
    ]
