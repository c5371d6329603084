# SPDX-License-Identifier: Apache-2.0
"""Programs about connecting and what comes after the connection."""

from __future__ import annotations

from typing import Any

from . import program, raised


@program(expected=(True, True, True))
def clients_of_one_store(plasma: Any, client: Any, other: Any) -> Any:
    third = plasma.connect(client.store_socket_name)
    fourth = plasma.connect(client.store_socket_name, num_retries=3)
    object_id = third.put(1)
    return (
        fourth.get(object_id) == 1,
        isinstance(third, plasma.PlasmaClient),
        isinstance(client.store_socket_name, str),
    )


@program(expected=("OSError", "OSError"))
def nobody_listens(plasma: Any, client: Any, other: Any) -> Any:
    return (
        raised(lambda: plasma.connect("/nowhere/at/all", num_retries=1)),
        raised(lambda: plasma.connect("/nowhere/at/all", 1)),
    )


@program(expected=("OSError", "OSError", "OSError", "OSError", "nothing"))
def after_disconnect(plasma: Any, client: Any, other: Any) -> Any:
    object_id = client.put(1)
    client.disconnect()
    return (
        raised(lambda: client.contains(object_id)),
        raised(lambda: client.create(plasma.ObjectID.from_random(), 1)),
        raised(lambda: client.put(1)),
        raised(lambda: client.list()),
        raised(lambda: client.disconnect()),
    )


@program(expected=(False, True))
def what_a_client_leaves(plasma: Any, client: Any, other: Any) -> Any:
    """What it never sealed goes with it, and its id is free."""
    object_id = plasma.ObjectID.from_random()
    kept = client.create(object_id, 10)
    client.disconnect()
    there = other.contains(object_id)
    while True:
        try:
            size = other.create(object_id, 5).size
            break
        except plasma.PlasmaObjectExists:
            continue  # The store has not noticed yet.
    return there, size == 5 and kept.size == 10
